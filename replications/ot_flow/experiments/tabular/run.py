"""OT-Flow, FFJORD or RNODE learns the rows of a table, and all three are tested alike."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.measure.clock import reader
from replications.ffjord import method as ffjord
from replications.ffjord.sizes import table_size
from replications.flows.density.flow import Flow
from replications.flows.training.settings import Training
from replications.ot_flow.experiments.tabular.declaration import SETS
from replications.ot_flow.measured import evaluated, generated
from replications.ot_flow.method import BUILDER, build, rk4
from replications.ot_flow.recording import record_costs, record_generated, record_own_likelihood
from replications.ot_flow.training import fit
from replications.rnode.method import METHOD
from replications.tasks.method import in_test
from replications.tasks.splits import Split, TrainBatches, held_out
from replications.tasks.tables import evaluation as tables
from replications.tasks.tables.declaration import DIMENSIONS

if TYPE_CHECKING:
    from bench.execution.run import Run
    from replications.ot_flow.experiments.tabular.declaration import OTFlowTabularConfig

EACH = "each method's own solver"
"""In the protocols of what is compared over methods, each trained and tested with the solver of its paper."""


def run(run: Run, config: OTFlowTabularConfig) -> None:
    """Train with the method's own schedule; then measure all methods by dopri5, and each by its own solver."""
    data = tables.rows(run, config)
    x = held_out(data.test)
    is_ot_flow = config.method == "ot_flow"
    flow = (trained if is_ot_flow else baseline)(run, data, config)
    likelihood = tables.evaluate(run, flow, data.test, config)
    if is_ot_flow:
        own = rk4(config.own_steps)
        terms = evaluated(flow, x, config.own_steps, config.test_batch, reader(run.device))
        record_costs(run, terms, EACH)
    else:  # the papers of FFJORD and RNODE test by dopri5, as every flow is tested here
        own = in_test(config)
        record_own_likelihood(run, likelihood, EACH)
    draws = run.torch_generator("generated")
    record_generated(run, generated(flow, x, own, config.generated, draws, config.test_batch), EACH)
    record_sizes(run, published_sizes())


def training_protocol(config: OTFlowTabularConfig) -> str:
    """Return the protocol of a training, the same for all methods, but for OT-Flow's where its steps are compiled."""
    compiled = "/compiled" if config.compiled and config.method == "ot_flow" else ""
    return f"{config.iterations} iterations of {config.batch}/{EACH}{compiled}"


def baseline(run: Run, data: Split, config: OTFlowTabularConfig) -> Flow:
    """Return FFJORD or RNODE trained as their code trains; its cost is recorded and the model kept."""
    arguments = ffjord.on_table(config, data.train.points.shape[1])
    return tables.trained(run, data, config, METHOD, ffjord.BUILDER, arguments, training_protocol(config))


def trained(run: Run, data: Split, config: OTFlowTabularConfig) -> Flow:
    """Return the trained OT-Flow; its cost is recorded and the model kept."""
    d = data.train.points.shape[1]
    arguments: dict[str, Any] = {"dim": d, "width": config.width, "layers": config.layers}
    flow = build(**arguments, generator=run.torch_generator("field")).to(run.device)
    batches = TrainBatches(run, data.train, config.batch)
    protocol = training_protocol(config)
    fit(run, flow, config, batches, settings(config), data.validation, protocol, batches.sizes)
    run.save_model(BUILDER, arguments, flow.state_dict())
    return flow


def settings(config: OTFlowTabularConfig) -> Training:
    """Return how to train: Adam, its rate falling on each of three plateaus of the weighted validation objective."""
    return Training(
        config.iterations,
        config.learning_rate,
        weight_decay=config.weight_decay,
        schedule="drops",
        gamma=1 / config.drop,
        plateau=config.plateau,
        drops=3,
        validate_every=config.validate_every,
    )


def published_sizes() -> dict[str, dict[str, int]]:
    """Return the number of parameters of the published networks of both methods for each set, whatever is trained."""
    sizes = {}
    for name, settings in SETS.items():
        flow = build(DIMENSIONS[name], settings["width"])
        sizes[name] = {"ot_flow": sum(p.numel() for p in flow.parameters()), "ffjord": table_size(name)}
    return sizes


def record_sizes(run: Run, sizes: dict[str, dict[str, int]]) -> None:
    """Record them, and the mean over the sets of OT-Flow's share of FFJORD's."""
    for name, of in sizes.items():
        for method, size in of.items():
            run.metric(f"parameters[{name}: {method}]", size, "published network, untrained")
    share = fmean(of["ot_flow"] / of["ffjord"] for of in sizes.values())
    run.metric("ratio[parameters: ot_flow/ffjord]", share, "published networks/mean of five sets")
