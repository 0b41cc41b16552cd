"""What `blog.adjoint_memory` is: Experiment 3. Each argument says whether a setting is documented or ours."""

from __future__ import annotations

from dataclasses import dataclass

from bench.experiment import Departure, Experiment


@dataclass(frozen=True)
class AdjointMemory:
    """Settings of `blog.adjoint_memory`; documented: CIFAR-10, pretrained features, five layers, 100 steps, dopri5.

    Args:
        data: `cifar10` as documented, `mnist` or `digits`.
        train_images: the first so many training images are used, or all there are.
        gradient: `backprop`, `adjoint` or `checkpoint`.
        adaptive: dopri5 in place of the fixed steps.
        fixed_method: ours: Euler. The post names none; its times (fixed : adaptive = 3.1 : 2.8) put 100 steps near
            the cost of an adaptive solve, which leaves one evaluation a step.
        steps: documented.
        tolerance: rtol = atol of dopri5, ours.
        layers: linear layers of the velocity field, documented.
        width: hidden units, ours.
        features: D, ours.
        batch: ours, for the extractor too.
        iterations: of the classifier's training, ours.
        learning_rate: of Adam, cosine to zero, ours.
        stages: widths of the extractor's stages, ours.
        convolutions: convolutions a stage, ours.
        extractor_iterations: ours.
        extractor_lr: of Adam, cosine to zero, ours.
        crop_padding: random crops in the extractor's training, 0 for none, ours.
        repeats: timed passes.
        large_batch: memory is compared at this batch too.
    """

    data: str = "cifar10"
    train_images: int = 50_000
    gradient: str = "adjoint"
    adaptive: bool = False
    fixed_method: str = "euler"
    steps: int = 100
    tolerance: float = 1e-3
    layers: int = 5
    width: int = 512
    features: int = 256
    batch: int = 256
    iterations: int = 2000
    learning_rate: float = 1e-3
    stages: tuple[int, ...] = (64, 128, 256)
    convolutions: int = 2
    extractor_iterations: int = 4000
    extractor_lr: float = 1e-3
    crop_padding: int = 4
    repeats: int = 20
    large_batch: int = 2048


METHODS = {
    "backprop": {"gradient": "backprop", "adaptive": False},
    "adjoint_fixed": {"gradient": "adjoint", "adaptive": False},
    "adjoint_adaptive": {"gradient": "adjoint", "adaptive": True},
    "checkpoint_fixed": {"gradient": "checkpoint", "adaptive": False},
    "checkpoint_adaptive": {"gradient": "checkpoint", "adaptive": True},
}

SMALL = {
    "data": "mnist", "train_images": 10_000, "width": 64, "features": 64, "batch": 128, "iterations": 20,
    "learning_rate": 1e-2, "stages": (8, 16), "convolutions": 1, "extractor_iterations": 100, "extractor_lr": 1e-2,
    "crop_padding": 0, "repeats": 5, "large_batch": 1024,
}  # fmt: skip

TINY = {
    "iterations": 2,
    "extractor_iterations": 3,
    "repeats": 1,
    "large_batch": 256,
    "steps": 5,
    "width": 16,
    "features": 8,
}

ADJOINT_MEMORY = Experiment(
    name="blog.adjoint_memory",
    task="images",
    seeded_by=("data", "train_images"),
    title="Experiment 3: memory and time of backpropagation, the adjoint and checkpointing",
    config=AdjointMemory(),
    run="replications.blog.experiments.adjoint_memory.run:run",
    variants=METHODS | {f"digits_{name}": method | {"data": "digits"} for name, method in METHODS.items()},
    tiers={
        "smoke": SMALL | TINY,
        "cpu": SMALL,
        "gpu": {"iterations": 500, "extractor_iterations": 2000},
        "paper": {},
    },
    metrics=(
        "peak_memory", "forward_backward_time", "test_accuracy", "overhead", "nfe_forward", "nfe_backward", "nfe_test",
        "resident_memory", "train_loss", "train_time", "iteration_time", "warmup_time", "data_time", "parameters",
    ),
    data_fields=("data",),
    departures=(
        Departure("Features, widths, batch, training, fixed method and tolerance are ours: the post prints none"),
    ),
    figures={"memory_time": "replications.blog.experiments.adjoint_memory.figures:memory_time"},
)  # fmt: skip
