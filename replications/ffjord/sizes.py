"""Numbers of parameters of the published networks, whatever was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from replications.ffjord.method import build, build_images
from replications.ffjord.networks import SHAPES, TABLES
from replications.tasks.tables.declaration import DIMENSIONS

if TYPE_CHECKING:
    from bench.execution.run import Run


def table_size(name: str) -> int:
    """Return the number of parameters of Table 4's network for a set, as its code counts them.

    The end time of each block is among them: a parameter there, though one without a gradient.
    """
    network, d = TABLES[name], DIMENSIONS[name]
    hidden = [factor * d for factor in network["factors"]]
    return _size(build(d, hidden, network["activation"], network["blocks"], learn_T=True))


def record_table_sizes(run: Run) -> None:
    """Record those of all tables."""
    for name in TABLES:
        protocol = "FFJORD's Table 4, concatsquash, learned T, untrained"
        run.metric(f"parameters[{name}]", table_size(name), protocol)


def record_image_sizes(run: Run) -> None:
    """Record those of all sets of images, and of RNODE's smaller network; end times are none."""
    networks = [(name, shape, (64, 64, 64)) for name, shape in SHAPES.items()]
    for name, shape, dims in (*networks, ("cifar10", SHAPES["cifar10"], (64, 64))):
        size = _size(build_images(shape, dims))
        widths = "-".join(map(str, dims))
        run.metric(f"parameters[{name} {widths}]", size, "published network, untrained, T = 1 given")


def _size(flow: nn.Module) -> int:
    return sum(p.numel() for p in flow.parameters())
