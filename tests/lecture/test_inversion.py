"""The experiment `lecture.inversion`: which number has which name."""

from pathlib import Path

import pytest
import torch
from support import perform

from replications.flows.ode.solve import Solver
from replications.lecture.experiments import INVERSION
from replications.lecture.experiments.inversion.field import NotesField
from replications.lecture.experiments.inversion.measured import largest_inversion_error


@pytest.mark.parametrize("variant", INVERSION.variants)
def test_errors_of_both_solvers_have_their_names(variant: str, tmp_path: Path) -> None:
    run = perform(INVERSION, variant, tmp_path)
    config = INVERSION.configure(variant, "smoke")
    values = {key: m.value for key, m in run.metrics.items()}
    x, _ = torch.randn(2, 64, 2, dtype=torch.float64, generator=run.torch_generator("states"))
    field = NotesField(variant, 2, 128, run.torch_generator("field"))
    fixed = largest_inversion_error(field, x, Solver("rk4", steps=config.steps))
    assert values["inversion_error[rk4]"] == fixed  # the first draws of the masks too
    assert values["nfe"] > 6
    assert ("gradient_error[printed]" in values) == (variant == "smooth")
    if variant == "smooth":
        assert values["gradient_error[right]"] < 1e-6 < 0.01 < values["gradient_error[printed]"]
    if variant != "dropout":  # whose masks are drawn anew at every call
        adaptive = Solver("dopri5", rtol=config.rtol, atol=config.atol)
        assert values["inversion_error"] == largest_inversion_error(field, x, adaptive) > fixed
