"""What a solver's settings accept, and their name in a protocol id."""

import subprocess
import sys

import pytest

from replications.flows.errors import RequestError
from replications.flows.ode.solver import Solver


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "rk5"}, "unknown solver method 'rk5'"),
        ({"method": "dopri5", "steps": 3}, "chooses its own steps"),
        ({"method": "rk4", "steps": 0}, "steps must be at least 1"),
        ({"max_nfe": 0}, "max_nfe must be at least 1"),
        ({"rtol": -1.0}, "tolerances must be positive"),
    ],
)
def test_faults_of_a_solver(arguments, message):
    with pytest.raises(RequestError, match=message):
        Solver(**arguments)


@pytest.mark.parametrize(
    ("solver", "protocol"),
    [
        (Solver(), "dopri5-1e-5"),
        (Solver(rtol=1e-3, atol=1e-4), "dopri5-1e-3-1e-4"),
        (Solver(rtol=2.5e-3, atol=2.5e-3, step_to_end=False), "dopri5-2.5e-3-interpolated"),
        (Solver("rk4", steps=100, max_nfe=9), "rk4-100"),
        (Solver("scipy:BDF"), "scipy:BDF-1e-5"),
        (Solver("implicit_adams", steps=10), "implicit_adams-10-1e-5"),
    ],
)
def test_protocol(solver, protocol):
    assert solver.protocol == protocol


def test_solver_does_not_import_torch():
    code = "import sys, replications.flows.ode.solver; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
