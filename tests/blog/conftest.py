"""Runs of the blog's experiments small enough for tests."""

import pytest

from bench import record as records
from bench.execution.run import Run
from bench.execution.worker import keep, perform
from bench.identity import identify
from replications.blog.experiments import EXPERIMENTS

BY_NAME = {experiment.name: experiment for experiment in EXPERIMENTS}
QUICK = {"picard": "cpu", "liouville": "cpu", "density": "cpu"}


@pytest.fixture
def make_run(tmp_path):
    """Return a function that makes an empty run and its config."""

    def make(name, variant, tier="smoke", seed=0, **overrides):
        experiment = BY_NAME[name]
        run = Run(identify(experiment, variant, tier, seed, overrides), tmp_path)
        return run, experiment.configure(variant, tier, overrides)

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return the records, by (experiment, variant), of one small run of each variant that needs no data file."""
    folder = tmp_path_factory.mktemp("results")
    found = {}
    for experiment in EXPERIMENTS:
        for variant in experiment.variants:
            if experiment.name == "blog.adjoint_memory" and not variant.startswith("digits_"):
                continue
            run = Run(identify(experiment, variant, QUICK.get(variant, "smoke"), 0), folder)
            result = perform(run, experiment, {})
            assert result.status == "done", (experiment.name, variant, result.message)
            found[experiment.name, variant] = records.read(keep(run, result))
    return found
