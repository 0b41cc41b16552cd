"""What `blog.theory` is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Experiment


@dataclass(frozen=True)
class Theory:
    """Settings of `blog.theory`, all ours: the post states theorems and no numbers.

    Args:
        part: `picard`, `liouville`, `density` or `sign_flip`.
        horizon: T, every flow and iteration runs over [0, T] (the sign flip over [0, 1]).
        iterates: Picard iterates.
        restarts: Picard iterates of the equation with two solutions, which converge by halves only.
        nodes: Chebyshev points in time.
        lipschitz: L of the random linear system, its spectral norm.
        tolerances: rtol = atol of dopri5, downwards.
        boundary_points: of the transported disc.
        sample: points at which determinants and densities are compared.
        grid: points of the sign flip's data on [-1, 1].
        width: units of both hidden layers of the sign flip's field.
        iterations: of Adam.
        learning_rate: highest, cosine to zero.
        train_tolerance: rtol = atol of dopri5 while the sign flip is trained.
    """

    part: str = "picard"
    horizon: float = 1.5
    iterates: int = 24
    restarts: int = 40
    nodes: int = 48
    lipschitz: float = 2.0
    tolerances: tuple[float, ...] = (1e-3, 1e-5, 1e-7, 1e-9)
    boundary_points: int = 128
    sample: int = 256
    grid: int = 32
    width: int = 16
    iterations: int = 80
    learning_rate: float = 1e-2
    train_tolerance: float = 1e-4


THEORY = Experiment(
    name="blog.theory",
    seeded_by=("part",),
    title="The tutorial's theorems against closed forms",
    config=Theory(),
    run="replications.blog.experiments.theory.run:run",
    variants={part: {"part": part} for part in ("picard", "liouville", "density", "sign_flip")},
    tiers={"smoke": {"iterations": 3, "tolerances": (1e-3, 1e-5), "sample": 8}, "cpu": {}},
    metrics=("max_error", "contraction_factor", "volume_error", "density_error", "ratio", "nfe"),
    figures={
        "picard": "replications.blog.experiments.theory.figures:picard",
        "liouville": "replications.blog.experiments.theory.figures:liouville",
        "density": "replications.blog.experiments.theory.figures:density",
        "sign_flip": "replications.blog.experiments.theory.figures:sign_flip",
    },
)
