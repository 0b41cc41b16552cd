"""float32 matrix products of compiled CPU code by oneDNN instead of MKL, where that is faster.

torch gives them to MKL, which on processors of other makers than its own uses half the width of AVX-512. oneDNN, also
part of torch, uses all of it wherever it is, in IEEE float32 too: `python -m benchmarks.cnf_rate` prints both
rates. By itself torch.compile takes it only for weights that are constants, which those of a training are not. Which of
both is faster depends on processor, sizes and layouts: it is measured, see `products`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files
from torch.fx import Graph, Node

from replications.flows.ode.products import Choice, machine

aten = torch.ops.aten

LEAST = 3 * 2**20
"""Multiplications below which the call itself costs what a faster product saves, which is not worth measuring."""


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return a b `(m, n)` of a `(m, k)` and b `(k, n)` by oneDNN, without gradient."""
    if not (b.is_contiguous() or b.t().is_contiguous()):
        b = b.contiguous()  # a part of a wider matrix, on which oneDNN falls back to far slower code
    result: Tensor = torch.ops.mkldnn._linear_pointwise.default(a, b.t(), None, "none", [], "")
    return result


def _like_product(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(len(a), b.shape[1])


# An operator of our own: torch.compile takes oneDNN's as one with constant weights, and fails on others.
LIBRARY = torch.library.Library("cnf_bench", "DEF")
LIBRARY.define("product(Tensor a, Tensor b) -> Tensor")
LIBRARY.impl("product", product, "CPU")
LIBRARY.impl("product", _like_product, "Meta")


def available() -> bool:
    """Return whether this torch has oneDNN and this processor AVX-512."""
    return torch.backends.mkldnn.is_available() and "AVX512" in torch.backends.cpu.get_cpu_capability()


def compile_options() -> dict[str, Any]:
    """Return what torch.compile is to be told: to use oneDNN where it is available and faster."""
    return {"post_grad_custom_post_pass": UseOneDnn()} if available() else {}


is_faster = Choice(lambda a, b: torch.ops.cnf_bench.product.default(a, b))
"""Whether oneDNN multiplies two matrices faster than torch.mm."""


class UseOneDnn(CustomGraphPass):
    """Replace a b and c + a b in a graph, which has been differentiated already, where oneDNN is faster."""

    def __call__(self, graph: Graph) -> None:
        """Rewrite the graph."""
        for node in list(graph.nodes):
            if node.target in (aten.mm.default, aten.addmm.default) and not node.kwargs:
                *added, a, b = node.args
                if _worthwhile(a.meta["val"], b.meta["val"]):
                    _replace(graph, node, added, a, b)

    def uuid(self) -> Any:
        """Return what tells graphs compiled with this pass from others in torch's cache."""
        return get_hash_for_files((__file__,)), machine()


def _worthwhile(a: Tensor, b: Tensor) -> bool:
    single = a.device.type == "cpu" and a.dtype == torch.float32
    return single and len(a) * a.shape[1] * b.shape[1] >= LEAST and is_faster(a, b)


def _replace(graph: Graph, node: Node, added: list[Node], a: Node, b: Node) -> None:
    with graph.inserting_before(node):
        new = graph.call_function(torch.ops.cnf_bench.product.default, (a, b))
        new.meta["val"] = node.meta["val"]
        for c in added:
            new = graph.call_function(aten.add.Tensor, (new, c))
            new.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(new)
    graph.erase_node(node)
