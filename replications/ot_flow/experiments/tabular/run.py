"""OT-Flow, FFJORD or RNODE learns the rows of a table, and all three are tested in the same ways."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from replications.ffjord.method import BUILDER, on_table
from replications.ffjord.sizes import table_size
from replications.flows.density.flow import Flow
from replications.flows.training.settings import Training
from replications.ot_flow.experiments.tabular.declaration import SETS
from replications.ot_flow.measured import OWN, fit, record_costs, record_generated
from replications.ot_flow.method import build, rk4
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
    protocol = f"{config.iterations} iterations of {config.batch}/{EACH}"
    ours = config.method == "ot_flow"
    flow = trained(run, data, config, protocol) if ours else baseline(run, data, config, protocol)
    tables.evaluate(run, flow, data.test, config)
    if ours:
        record_costs(run, flow, held_out(data.test), config.own_steps, config.test_batch, EACH)
    else:
        _own(run)
    integration = rk4(config.own_steps) if ours else in_test(config)
    record_generated(run, flow, held_out(data.test), integration, config.generated, config.test_batch, EACH)
    _published_sizes(run)


def baseline(run: Run, data: Split, config: OTFlowTabularConfig, protocol: str) -> Flow:
    """Return FFJORD or RNODE trained as their code trains; its cost is recorded and the model kept."""
    arguments = on_table(config, data.train.points.shape[1])
    return tables.trained(run, data, config, METHOD, BUILDER, arguments, protocol)


def trained(run: Run, data: Split, config: OTFlowTabularConfig, protocol: str) -> Flow:
    """Return the trained OT-Flow; its cost is recorded and the model kept."""
    d = data.train.points.shape[1]
    arguments: dict[str, Any] = {"dim": d, "width": config.width, "layers": config.layers}
    flow = build(**arguments, generator=run.torch_generator("field")).to(run.device)
    batches = TrainBatches(run, data.train, config.batch)
    fit(run, flow, config, batches, settings(config), data.validation.points, protocol)
    run.save_model("replications.ot_flow.method:build", arguments, flow.state_dict())
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


def _own(run: Run) -> None:
    """Record once more, as measured by the method's own solver, what FFJORD and RNODE are tested with anyway."""
    for key in ("nll", "loglik_time", "nfe_test"):
        measured = run.metrics[key]
        told = f"{EACH}/{run.metrics['nll'].n} points" if key == "loglik_time" else EACH
        run.metric(f"{key}[{OWN}]", measured.value, told, measured.n, measured.se)


def _published_sizes(run: Run) -> None:
    """Record the parameters of all the published networks, whatever was trained, and OT-Flow's share of FFJORD's."""
    shares = []
    for name, settings in SETS.items():
        flow = build(DIMENSIONS[name], settings["width"])
        sizes = sum(p.numel() for p in flow.parameters()), table_size(name)
        shares.append(sizes[0] / sizes[1])
        for method, size in zip(("ot_flow", "ffjord"), sizes, strict=True):
            run.metric(f"parameters[{name}: {method}]", size, "published network, untrained")
    run.metric("ratio[parameters: ot_flow/ffjord]", fmean(shares), "published networks/mean of five sets")
