"""What `blog.crescent` is: Experiment 2."""

from __future__ import annotations

from bench.experiment import Change, Departure, Experiment
from replications.tasks.density2d.declaration import CAPTIONS as FLOW_CAPTIONS
from replications.tasks.density2d.declaration import METRICS as FLOW_METRICS
from replications.tasks.density2d.declaration import TIERS as FLOW_TIERS
from replications.tasks.density2d.declaration import Density2dConfig

# Documented are FFJORD, Hutchinson's estimator and dopri5; network, end time and training are those of FFJORD's code.
CRESCENT = Experiment(
    name="blog.crescent",
    task="density2d",
    seeded_by=("data",),
    removed={"kinetic": 0.0, "jacobian": 0.0, "spread": 0.0},
    title="Experiment 2: FFJORD carries a normal density to a crescent",
    config=Density2dConfig(data="crescent", validate_every=100),
    run="replications.blog.experiments.crescent.run:run",
    variants={kind: {"divergence": kind} for kind in ("rademacher", "gaussian", "exact")},
    tiers=FLOW_TIERS,
    # There is no other method beside it, and its end time is given.
    metrics=tuple(name for name in FLOW_METRICS if name not in ("overhead", "end_time")),
    figures={
        "samples": "replications.blog.experiments.crescent.figures:samples",
        "transport": "replications.blog.experiments.crescent.figures:transport",
        "training": "replications.tasks.figures:training",
    },
    captions=FLOW_CAPTIONS,
    changes=(
        Change(2, "the end time is given and the best validated weights are kept, as in the published code"),
    ),
    departures=(
        Departure(
            "The crescent, the network and the training are ours or those of FFJORD's code: the post prints none"
        ),
    ),
)
