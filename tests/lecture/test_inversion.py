from pathlib import Path

import pytest
import torch

from bench.execution.run import Run
from bench.identity import identify
from replications.flows.ode.solve import Solver
from replications.lecture.experiments import INVERSION
from replications.lecture.experiments.inversion.run import (
    Dropout,
    NotesField,
    input_gradient,
    run,
    there_and_back,
)

TIGHT = Solver("dopri5", rtol=1e-9, atol=1e-9)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_dropout_keeps_the_mean_and_draws_anew() -> None:
    dropout = Dropout(0.25, generator())
    x = torch.ones(100_000, dtype=torch.float64)
    first, second = dropout(x), dropout(x)
    assert float(first.mean()) == pytest.approx(1, abs=0.01)
    assert float((first == 0).double().mean()) == pytest.approx(0.25, abs=0.01)
    assert not torch.equal(first, second)


def test_smooth_flow_inverts_and_dropout_does_not() -> None:
    x = torch.randn(8, 2, dtype=torch.float64, generator=generator(1))
    solver = Solver("rk4", steps=20)
    errors = {k: there_and_back(NotesField(k, 2, 32, generator()), x, solver) for k in ("smooth", "dropout")}
    assert errors["smooth"] < 1e-8
    assert errors["dropout"] > 1e-4


def test_adjoint_of_a_linear_field() -> None:
    """h' = A h: dL/dh(0) = g e^A; with both reversals the printed code gives g e^-A."""
    a = torch.tensor([[0.2, 1.0], [-0.7, -0.1]], dtype=torch.float64)

    class Linear(torch.nn.Module):
        def forward(self, t: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
            return h @ a.T

    g, end = torch.randn(2, 3, 2, dtype=torch.float64, generator=generator())
    flow = torch.linalg.matrix_exp(a)
    right, printed = (input_gradient(Linear(), end, g, TIGHT, sign) for sign in (1, -1))
    torch.testing.assert_close(right, g @ flow, atol=1e-7, rtol=0)
    torch.testing.assert_close(printed, g @ torch.linalg.inv(flow), atol=1e-7, rtol=0)


@pytest.mark.parametrize("variant", INVERSION.variants)
def test_run_reports_only_what_it_declares(variant: str, tmp_path: Path) -> None:
    job = Run(identify(INVERSION, variant, "smoke", 0), tmp_path)
    run(job, INVERSION.configure(variant, "smoke"))
    assert {key.split("[")[0] for key in job.metrics} <= set(INVERSION.metrics)
    assert "inversion_error" in job.metrics
    assert ("gradient_error[printed]" in job.metrics) == (variant == "smooth")
