"""What is mutated, and by which tests it is guarded: one line a source."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """A source file, the names of the test modules that guard it, and how many mutants the default run takes."""

    source: str
    tests: str
    sample: int = 12


TARGETS = (
    # statistics, verdicts
    Target("bench/stats.py", "test_stats", 10),
    Target("bench/inference.py", "test_inference", 10),
    Target("bench/power.py", "test_power", 10),
    Target("bench/campaign/cost.py", "test_campaign", 10),
    Target("bench/campaign/probe.py", "test_campaign", 8),
    Target("bench/campaign/order.py", "test_campaign", 10),
    Target("bench/campaign/reach.py", "test_campaign", 10),
    Target("bench/campaign/lacking.py", "test_power", 8),
    Target("bench/execution/compact.py", "test_compact", 6),
    Target("bench/report/costs.py", "test_costs", 8),
    Target("bench/evidence.py", "test_verdict test_evidence test_seeds", 10),
    Target("bench/verdict.py", "test_verdict test_evidence test_seeds", 12),
    Target("bench/margin.py", "test_margin", 8),
    Target("bench/claim.py", "test_verdict", 6),
    Target("bench/identity.py", "test_identity test_record", 10),
    Target("bench/verify.py", "test_verify", 10),
    Target("bench/execution/progress.py", "test_progress", 8),
    # measurements, metrics
    Target("bench/measure/clock.py", "test_measure", 8),
    Target("bench/measure/load.py", "test_load", 8),
    Target("bench/execution/cores.py", "test_cores", 10),
    Target("bench/measure/memory.py", "test_measure", 10),
    Target("bench/metrics/transport.py", "test_transport", 10),
    Target("bench/metrics/paths.py", "test_path_metrics", 10),
    Target("bench/metrics/memorising.py", "test_memorising", 8),
    Target("bench/metrics/classification.py", "test_classification", 8),
    Target("bench/metrics/share.py", "test_share", 8),
    Target("bench/metrics/fidelity/levels.py", "test_levels", 8),
    Target("bench/report/rounding.py", "test_rounding", 8),
    Target("bench/metrics/fidelity/quality.py", "test_fidelity", 10),
    Target("bench/metrics/fidelity/points.py", "test_feature_extractors", 8),
    Target(
        "bench/metrics/fidelity/extractors.py",
        "test_fidelity test_feature_extractors test_levels",
        6,
    ),
    Target("bench/metrics/fidelity/features.py", "test_fidelity_cache test_fidelity test_levels", 6),
    Target("bench/metrics/fidelity/mnist_cnn.py", "test_feature_extractors", 6),
    # data
    Target("bench/data/toy2d.py", "test_toy2d", 14),
    Target("bench/data/energies2d.py", "test_energies2d", 8),
    Target("bench/data/tabular.py", "test_tabular", 10),
    Target("bench/data/images.py", "test_image_data", 10),
    Target("bench/data/patches.py", "test_patches", 8),
    Target("bench/data/weather.py", "test_weather", 8),
    # solves, evaluations
    Target(
        "replications/flows/ode/step.py", "test_solve test_counter test_solve_failures test_solve_usage", 10
    ),
    Target("replications/flows/ode/controller.py", "test_controller test_solve test_solve_failures", 10),
    Target(
        "replications/flows/ode/integrate.py",
        "test_counter test_controller test_solve test_repetition test_kept_graphs",
        12,
    ),
    Target("replications/flows/ode/counter.py", "test_counter test_means", 4),
    Target("replications/flows/ode/guards.py", "test_solve_failures test_counter test_solve", 10),
    Target("replications/flows/ode/sources.py", "test_field_sources test_solve_usage", 10),
    Target("replications/flows/ode/repetition.py", "test_repetition", 10),
    Target("replications/flows/ode/reach.py", "test_reach", 8),
    Target("replications/flows/ode/state.py", "test_solve_inputs test_controller test_solve", 10),
    Target("replications/flows/ode/kept.py", "test_kept_graphs", 6),
    Target("replications/flows/ode/memory.py", "test_kept_graphs", 8),
    Target(
        "replications/flows/ode/checkpoint.py",
        "test_solve_usage test_kept_graphs test_repetition test_field_sources test_solve_conformance",
        10,
    ),
    Target(
        "replications/flows/ode/gradients.py",
        "test_solve_usage test_kept_graphs test_solve_failures test_field_sources",
        10,
    ),
    Target(
        "replications/flows/ode/adjoint.py",
        "test_solve_conformance test_solve_failures test_solve test_counter",
        6,
    ),
    Target("replications/flows/ode/products.py", "test_product_choice", 8),
    Target("replications/flows/means.py", "test_means", 6),
    Target("replications/flows/density/evaluate.py", "test_evaluate", 10),
    Target("replications/flows/density/regularizers.py", "test_cnf test_divergence", 8),
    Target("replications/flows/training/settings.py", "test_optimizers test_train", 10),
    Target("replications/flows/training/log.py", "test_train test_recording", 10),
    # splits, recording, cost, methods
    Target("replications/tasks/splits.py", "test_splits", 10),
    Target("replications/tasks/recording.py", "test_recording", 10),
    Target("replications/tasks/cost.py", "test_cost", 10),
    Target("replications/tasks/density2d/evaluation.py", "test_density2d", 10),
    Target("replications/tasks/density2d/densities.py", "test_densities", 8),
    Target("replications/tasks/density2d/pinwheel.py", "test_densities", 8),
    Target("replications/tasks/mixtures/law.py", "test_mixtures", 8),
    Target("replications/tasks/mixtures/marginal.py", "test_mixtures", 8),
    Target("replications/tasks/digits/data.py", "test_digits", 6),
    Target("replications/tasks/images/evaluation.py", "test_image_task", 10),
    Target("replications/rnode/method.py", "test_rnode_method test_pairing", 8),
    Target("replications/steer/method.py", "test_steer_method test_pairing", 4),
    Target("replications/ffjord/method.py", "test_ffjord_method test_cnf test_runs", 6),
)
