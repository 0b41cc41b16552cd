"""`mnist-cnn-v1`: a small classifier of MNIST, trained once on a machine by the recipe below.

Pixels x in 0..255, resized to 28x28 by bilinear interpolation where they have another size (the reference must have
that size too), become (x / 255 - 0.1307) / 0.3081. Then: convolution 3x3, 1 to 16 channels, ReLU, max-pool 2;
convolution 3x3, 16 to 32, ReLU, max-pool 2; dense to 64, ReLU; dense to 10: the logits. Adam without weight decay on
the cross-entropy of MNIST's 60000 training images, its rate falling linearly to zero. The features are the 64
activations over their root mean square on the training images: so the scale of FID and KID does not hang on the length
of the training, and E|phi|^2 = 64 there.

The weights are part of this package, checked by SHA-256, so that FID means the same on every machine. They follow from
recipe and data: training takes the CPU, one thread and its own generator. Another processor or torch rounds otherwise,
and its weights differ a little. `python -m bench.metrics.fidelity.mnist_cnn` trains anew, keeps what comes out in the
data cache, under a hash of recipe and data, and prints both accuracies.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import files
from bench.data import images, registry
from bench.errors import UserError
from bench.identity import digest

MEAN, STD, SIDE, DIM = 0.1307, 0.3081, 28, 64
PART = 500
SHIPPED = Path(__file__).with_name("mnist-cnn-v1.pt")
SHA256 = "8a9e2ca1961beba4dfa2f4f6441f80a231636a79a0f8717ae681dd4a3c0b03d4"
"""Of the file SHIPPED, which `weights` made with the default recipe."""


@dataclass(frozen=True)
class Recipe:
    """All that a training depends on but the data."""

    name: str = "mnist-cnn-v1"
    epochs: int = 4
    batch: int = 128
    rate: float = 1e-3
    seed: int = 0


class Network(nn.Module):
    """The network, on raw images; parameters U(-1/sqrt(n), 1/sqrt(n)) for n inputs to an output, from the generator."""

    scale: Tensor

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(32 * (SIDE // 4) ** 2, DIM), nn.ReLU()),
        )
        self.head = nn.Linear(DIM, 10)
        self.register_buffer("scale", torch.ones(()))
        with torch.no_grad():
            for layer in (*self.body, self.head):
                for parameter in layer.parameters():
                    bound = layer.weight[0].numel() ** -0.5
                    parameter.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features `(B, 64)` and logits `(B, 10)` of images uint8 `(B, 1, H, W)`."""
        x = (x.float() / 255 - MEAN) / STD
        if x.shape[2:] != (SIDE, SIDE):
            x = functional.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        activations = self.body(x)
        return activations / self.scale, self.head(activations)


def train(x: Tensor, y: Tensor, recipe: Recipe) -> Network:
    """Return a network trained on images uint8 `(N, 1, H, W)` and labels `(N,)`."""
    generator = torch.Generator().manual_seed(recipe.seed)
    network = Network(generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    total = recipe.epochs * -(-len(x) // recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / total)
    with _one_thread(), torch.enable_grad():
        for _ in range(recipe.epochs):
            for chosen in images.minibatches(len(x), recipe.batch, generator):
                optimizer.zero_grad()
                functional.cross_entropy(network(x[chosen])[1], y[chosen]).backward()
                optimizer.step()
                schedule.step()
        with torch.no_grad():
            squares = sum(network(part)[0].double().square().sum() for part in x.split(PART))
        network.scale = (squares / (len(x) * DIM)).sqrt().float()
    return network.eval()


@torch.no_grad()
def accuracy(network: Network, x: Tensor, y: Tensor) -> float:
    """Return the share of images `(N, 1, H, W)` classified rightly, in percent."""
    right = sum(int((network(part)[1].argmax(1) == z).sum()) for part, z in zip(x.split(PART), y.split(PART)))
    return 100 * right / len(x)


def shipped() -> Path:
    """Return the file of the weights that this package brings.

    Raises:
        UserError: it is absent or damaged.
    """
    if not SHIPPED.is_file() or hashlib.sha256(SHIPPED.read_bytes()).hexdigest() != SHA256:
        raise UserError(f"{SHIPPED} is absent or damaged: reinstall cnf-bench")
    return SHIPPED


def weights(recipe: Recipe = Recipe()) -> Path:
    """Return the file of weights trained here, its SHA-256 checked; trains where it is absent or damaged.

    Raises:
        UserError: MNIST is not here, or the cache can not be written.
    """
    key = digest([dataclasses.asdict(recipe), registry.get("mnist").hashes()])[:12]
    folder = registry.cache_folder() / "fidelity"
    for place in sorted(folder.glob(f"{recipe.name}-{key}-*.pt")):
        if place.stem.endswith(_sha256(place.read_bytes())):
            return place
        files.remove(place, registry.cache_folder())
    data, test = images.load("mnist", "train"), images.load("mnist", "test")
    network = train(data.images, data.labels, recipe)
    content = {
        "state": network.state_dict(),
        "test_accuracy": accuracy(network, test.images, test.labels),
        "recipe": dataclasses.asdict(recipe),
    }
    stream = io.BytesIO()
    torch.save(content, stream)
    place = folder / f"{recipe.name}-{key}-{_sha256(stream.getvalue())}.pt"
    files.write(place, stream.getvalue(), registry.cache_folder())
    return place


def load(place: Path) -> Network:
    """Return the network of a file that `weights` gave."""
    network = Network(torch.Generator())
    network.load_state_dict(torch.load(place, weights_only=True)["state"])
    return network.eval()


def test_accuracy(place: Path) -> float:
    """Return the share of MNIST's test images that the network of such a file classifies rightly, in percent."""
    return float(torch.load(place, weights_only=True)["test_accuracy"])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let sums have one order whatever the number of threads was."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    start, found = time.perf_counter(), weights()
    print(f"{found}: {test_accuracy(found):.2f} % of the test images, {time.perf_counter() - start:.0f} s")
    print(f"{shipped()}: {test_accuracy(shipped()):.2f} %")
