"""The lecture's classifier: a dense encoder, an ODE block, a linear read-out.

| in the lecture | here                | shape     | equation                                        |
|----------------|---------------------|-----------|-------------------------------------------------|
| `downsample`   | `Classifier.encode` | `(B, 64)` | W_2 relu(W_1 x + b_1) + b_2, 128 hidden         |
| `ODEFunc`      | `MlpField`          | `(B, 64)` | f(t, h) = V_2 tanh(V_1 h + c_1) + c_2 + a t + c |
| `ODEBlock`     | `ODEBlock`          | `(B, 64)` | h(T) = h(0) + int_0^T f(t, h) dt                |
| `classifier`   | `Classifier.read`   | `(B, 10)` | logits                                          |
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from replications.flows.fields.mlp import MlpField, initialise
from replications.flows.ode.block import ODEBlock
from replications.flows.ode.solve import Solver

DIM, ENCODER_WIDTH, FIELD_WIDTH, CLASSES = 64, 128, 64, 10


class Classifier(nn.Module):
    """The lecture's `NeuralODEClassifier`.

    Args:
        inputs: P, pixels an image.
        solver: of the ODE block.
        gradient: of the ODE block.
        integration_time: T.
        generator: draws the initial parameters (torch's default distributions).
    """

    def __init__(
        self, inputs: int, solver: Solver, gradient: str, integration_time: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Linear(inputs, ENCODER_WIDTH), nn.ReLU(), nn.Linear(ENCODER_WIDTH, DIM)
        )
        initialise(self.encode, generator)
        field = MlpField(DIM, (FIELD_WIDTH,), generator, time="output")
        self.block = ODEBlock(field, solver, gradient, t1=integration_time)
        self.read = nn.Linear(DIM, CLASSES)
        initialise(self.read, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `(B, 10)` of images `(B, P)`."""
        logits: Tensor = self.read(self.block(self.encode(x)))
        return logits


def build(
    inputs: int, rtol: float, atol: float, gradient: str, integration_time: float, seed: int = 0
) -> Classifier:
    """Return an untrained classifier; what `bench.load` calls."""
    generator = torch.Generator().manual_seed(seed)
    return Classifier(inputs, Solver("dopri5", rtol=rtol, atol=atol), gradient, integration_time, generator)


def with_solver(model: Classifier, solver: Solver, gradient: str) -> Classifier:
    """Return a copy of a classifier that integrates in another way."""
    other = copy.deepcopy(model)
    other.block.solver, other.block.gradient = solver, gradient
    return other
