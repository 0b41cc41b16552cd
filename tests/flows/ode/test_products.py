import shutil
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from replications.flows.fields.mlp import MlpField
from replications.flows.ode import onednn
from replications.flows.ode.onednn import LEAST, UseOneDnn, available, product
from replications.flows.ode.solve import Solver, solve

pytestmark = pytest.mark.skipif(not available(), reason="needs torch with oneDNN and AVX-512")
N = 2 * round(LEAST ** (1 / 3))


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def matrix(rows: int, columns: int, transposed: bool, seed: int) -> Tensor:
    return normal(columns, rows, seed=seed).T if transposed else normal(rows, columns, seed=seed)


def assert_single_precision(result: Tensor, a: Tensor, b: Tensor) -> None:
    """Each entry is off by a few roundings: 2^-24 in float32, but 2^-11 in TF32 and 2^-9 in bfloat16."""
    a, b = a.double(), b.double()
    assert ((result - a @ b).abs() <= 1e-6 * (a.abs() @ b.abs())).all()


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("shape", [(5, 3, 4), (1, 7, 2), (300, 200, 43)])
def test_a_product_is_that_of_matrices_in_any_layout(
    left: bool, right: bool, shape: tuple[int, int, int]
) -> None:
    m, k, n = shape
    a, b = matrix(m, k, left, 1), matrix(k, n, right, 2)
    result = product(a, b)
    assert result.dtype == torch.float32
    assert_single_precision(result, a, b)


class Seen(TorchDispatchMode):
    """Keeps the weights that oneDNN is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.mkldnn._linear_pointwise.default:
            self.weights.append(args[1])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    "cut", [(slice(None), slice(-1)), (slice(1, None), slice(None)), (slice(1, 9), slice(2, 5))]
)
def test_a_part_of_a_matrix_reaches_onednn_as_a_matrix(transposed: bool, cut: tuple[slice, slice]) -> None:
    b = normal(12, 10, seed=1)[cut]
    b = b.T if transposed else b
    a = normal(7, len(b), seed=2)
    with Seen() as seen:
        result = product(a, b)
    assert_single_precision(result, a, b)
    (weight,) = seen.weights
    assert weight.is_contiguous() or weight.T.is_contiguous()


def targets_and_result(n: int, dtype: torch.dtype) -> tuple[list[str], list[Tensor], list[Tensor]]:
    """Rewrite the graph of a^T b and c + a b^T; return its products, its results and the unchanged graph's."""

    def both(a: Tensor, b: Tensor, c: Tensor) -> list[Tensor]:
        return [a.T @ b, torch.addmm(c, a, b.T)]

    inputs = [normal(n, n, seed=s, dtype=dtype) for s in (1, 2)] + [normal(n, seed=3, dtype=dtype)]
    module = make_fx(both, tracing_mode="fake")(*inputs)
    UseOneDnn()(module.graph)
    module.graph.lint()
    module.recompile()
    kept = ("aten.mm.default", "aten.addmm.default", "cnf_bench.product.default")
    names = [str(node.target) for node in module.graph.nodes if str(node.target) in kept]
    return names, module(*inputs), both(*inputs)


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let oneDNN be the faster one, and no graph come from a cache that knows better."""
    monkeypatch.setattr(onednn, "is_faster", lambda a, b: True)
    monkeypatch.setattr(UseOneDnn, "uuid", lambda self: None)


def test_slower_products_of_a_graph_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    def slower(a: Tensor, b: Tensor) -> bool:
        asked.append((*a.shape, *a.stride(), *b.shape, *b.stride()))
        return False

    monkeypatch.setattr(onednn, "is_faster", slower)
    names, ours, reference = targets_and_result(N, torch.float32)
    assert names == ["aten.mm.default", "aten.addmm.default"]
    assert asked == [(N, N, 1, N, N, N, N, 1), (N, N, N, 1, N, N, 1, N)]  # a^T b and a b^T
    assert all(torch.equal(a, b) for a, b in zip(ours, reference, strict=True))


@pytest.mark.usefixtures("faster")
def test_large_products_of_a_graph_are_replaced() -> None:
    names, ours, reference = targets_and_result(N, torch.float32)
    assert names == ["cnf_bench.product.default"] * 2
    for a, b in zip(ours, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize(("n", "dtype"), [(8, torch.float32), (N, torch.float64), (N, torch.bfloat16)])
def test_small_and_other_products_stay(n: int, dtype: torch.dtype) -> None:
    names, ours, reference = targets_and_result(n, dtype)
    assert names == ["aten.mm.default", "aten.addmm.default"]
    for a, b in zip(ours, reference, strict=True):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings(
    "ignore:.*script_method:DeprecationWarning"
)  # of torch's own, on the first import
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
@pytest.mark.usefixtures("faster")
def test_compiled_steps_use_them_and_give_the_gradient() -> None:
    field, solver = MlpField(4, (128, 128), torch.Generator().manual_seed(0)), Solver("euler", steps=1)
    x = normal(LEAST // 128**2, 4, seed=1)

    torch.compiler.reset()

    def gradient(dtype: torch.dtype, compiled: bool) -> Tensor:
        end = solve(field.to(dtype), x.to(dtype), 0.0, 1.0, solver, compiled=compiled)
        shares = torch.autograd.grad(end.square().mean(), tuple(field.parameters()))
        return torch.cat([share.flatten() for share in shares])

    exact = gradient(torch.float64, False)
    gradient(torch.float32, True)  # compiles
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        ours = gradient(torch.float32, True)
    calls = {event.key: event.count for event in seen.key_averages()}
    # of the layer between the hidden ones: forward, run again, pulled back to its weights and to its inputs
    assert calls["cnf_bench::product"] == 4
    assert (ours - exact).norm() < 1e-5 * exact.norm()
