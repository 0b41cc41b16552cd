"""The objective and its gradient as one graph of torch.compile, without autograd between them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from replications.flow_matching.method import Draw, objective
from replications.flow_matching.paths import ConditionalPath


class CompiledObjective:
    """L of `method.objective`; a call sets the parameters' gradients itself, and returns L without a graph.

    For `replications.flows.training.loop.train`, which does not ask a loss without graph for its gradient. On the CPU
    it needs a C++ compiler, and takes oneDNN for float32 products where that is faster (see
    `replications.flows.ode.onednn`).

    Args:
        velocity: v; all its parameters are trained.
        path: gives x_t and u_t.
    """

    def __init__(self, velocity: nn.Module, path: ConditionalPath) -> None:
        from replications.flows.ode.onednn import compile_options  # takes a second

        self.parameters: dict[str, Tensor] = dict(velocity.named_parameters())

        def both(parameters: dict[str, Tensor], x1: Tensor, draw: Draw, labels: Tensor | None) -> Any:
            def at(parameters: dict[str, Tensor]) -> Tensor:
                return objective(lambda *a: functional_call(velocity, parameters, a), path, x1, draw, labels)

            return grad_and_value(at)(parameters)

        options = compile_options()
        if all(parameter.device.type == "cpu" for parameter in self.parameters.values()):
            # A graph without autograd looks like inference, for which convolutions are given the channels last; on the
            # CPU their gradients are slower so.
            options["layout_optimization"] = False
        self._both = torch.compile(both, fullgraph=True, dynamic=False, options=options)

    def __call__(self, x1: Tensor, draw: Draw, labels: Tensor | None = None) -> Tensor:
        """Return L, a scalar; arguments as those of `method.objective`."""
        with torch.no_grad():
            gradients, loss = self._both(self.parameters, x1, draw, labels)
        for name, parameter in self.parameters.items():
            parameter.grad = gradients[name]
        return loss
