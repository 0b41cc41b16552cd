r"""What stands beside the methods in every table of the suite.

| yardstick | density | chosen on validation |
|---|---|---|
| truth | the law itself, where its density is known | |
| gaussian | N(mean, covariance) of the pool, divisor N | |
| mixture | Gaussian mixture by expectation maximisation (scikit-learn) | its components |
| kde | 1/M sum_m N(x; x_m, h^2 I) over M points of the pool | h |
| spline | coupling layers of rational quadratic splines (zuko), trained as the methods are | |
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.errors import UserError
from replications.suite.data import Task
from replications.tasks.splits import to_train, to_validate

if TYPE_CHECKING:
    from bench.execution.run import Run

Array = NDArray[np.float64]
COMPONENTS = (1, 4, 8, 16, 32, 64)
"""Of the mixtures among which validation chooses."""
BANDWIDTHS = tuple(np.geomspace(0.02, 1.0, 12))
"""Of the kernels among which validation chooses, in standard deviations of the data."""
CENTRES = 5000
"""Points under the kernels."""


class Fitted(Protocol):
    """A density that is fitted at once."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) `(N,)` in nats."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n samples `(n, D)`."""


class Truth:
    """The law of the data.

    Args:
        task: with a known density.

    Raises:
        UserError: the density is not known.
    """

    def __init__(self, task: Task) -> None:
        if task.log_density is None:
            raise UserError("the true density of this data is not known: leave out the yardstick `truth`")
        self._log_density, self._task = task.log_density, task

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q(x) `(N,)` in nats."""
        return torch.as_tensor(self._log_density(x.double().numpy()))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n points of the data that no test has."""
        return self._task.test(n, f"truth {generator.initial_seed()}").points


class Gaussian:
    """The normal law with mean and covariance of some points `(N, D)`, divisor N."""

    def __init__(self, points: Tensor) -> None:
        x = points.double()
        self.law = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T, correction=0))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) `(N,)` in nats."""
        found: Tensor = self.law.log_prob(x.double())
        return found

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n samples `(n, D)`."""
        z = torch.randn(n, len(self.law.loc), generator=generator, dtype=torch.float64)
        return (self.law.loc + z @ self.law.scale_tril.T).float()


class Mixture:
    """A Gaussian mixture by expectation maximisation with full covariances.

    Args:
        points: `(N, D)`.
        components: how many.
        seed: of the start.
    """

    def __init__(self, points: Tensor, components: int, seed: int) -> None:
        from sklearn.mixture import GaussianMixture

        self.law = GaussianMixture(components, random_state=seed % 2**32, max_iter=300, reg_covar=1e-6)
        self.law.fit(points.double().numpy())

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) `(N,)` in nats."""
        return torch.as_tensor(self.law.score_samples(x.double().numpy()))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n samples `(n, D)`."""
        which = torch.multinomial(torch.as_tensor(self.law.weights_), n, True, generator=generator)
        roots = torch.linalg.cholesky(torch.as_tensor(self.law.covariances_))
        z = torch.randn(n, roots.shape[1], 1, generator=generator, dtype=torch.float64)
        return (torch.as_tensor(self.law.means_)[which] + (roots[which] @ z)[:, :, 0]).float()


class Kernels:
    """A kernel density estimate with normal kernels of one width in all directions.

    Args:
        centres: x_m `(M, D)`.
        width: h.
    """

    def __init__(self, centres: Tensor, width: float) -> None:
        self.centres, self.width = centres.double(), width

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) `(N,)` in nats; the points in parts, since memory grows as points times centres."""
        (m, dim), h = self.centres.shape, self.width
        constant = np.log(m) + dim / 2 * np.log(2 * np.pi * h**2)
        parts = [
            torch.logsumexp(-torch.cdist(part, self.centres).square() / (2 * h**2), 1) - constant
            for part in x.double().split(1000)
        ]
        return torch.cat(parts)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n samples `(n, D)`."""
        which = torch.randint(len(self.centres), (n,), generator=generator)
        z = torch.randn(n, self.centres.shape[1], generator=generator, dtype=torch.float64)
        return (self.centres[which] + self.width * z).float()


class Spline(nn.Module):
    """Coupling layers of rational quadratic splines between normal base and data (zuko's `NSF`).

    Args:
        dim: D.
        width: of the hidden layers.
        generator: draws the parameters.

    Raises:
        UserError: zuko is not installed.
    """

    def __init__(self, dim: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        try:
            zuko = importlib.import_module("zuko")
        except ImportError as error:
            raise UserError("the yardstick `spline` needs zuko: pip install cnf-bench[peers]") from error
        with torch.random.fork_rng(devices=[]):  # zuko draws from torch's own stream
            torch.manual_seed(generator.initial_seed() % 2**63)
            self.law = zuko.flows.NSF(dim, transforms=3, hidden_features=[width] * 2, passes=2)

    def loss(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean NLL of a batch in nats."""
        return -self.log_prob(x).mean()

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) `(N,)` in nats."""
        found: Tensor = self.law().log_prob(x)
        return found

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n samples `(n, D)`."""
        law = self.law()
        shape = (n, *law.base.event_shape)
        found: Tensor = law.transform.inv(torch.randn(shape, generator=generator))
        return found


def fitted(run: Run, name: str, task: Task) -> Fitted:
    """Return a yardstick that needs no training, fitted to the task's pool.

    Raises:
        UserError: no such yardstick, or it needs a density that is not known.
    """
    pool, validation = to_train(task.pool), to_validate(task.validation)
    spread = pool.double().std().item()
    choices: dict[str, Callable[[], Fitted]] = {
        "truth": lambda: Truth(task),
        "gaussian": lambda: Gaussian(pool),
        "mixture": lambda: best([Mixture(pool, k, run.seed("mixture")) for k in COMPONENTS], validation),
        "kde": lambda: best([Kernels(pool[:CENTRES], h * spread) for h in BANDWIDTHS], validation),
    }
    if name not in choices:
        raise UserError(f"no yardstick is called {name!r}: choose one of {', '.join(choices)}")
    return choices[name]()


def best(candidates: list[Fitted], validation: Tensor) -> Fitted:
    """Return that under which the validation points are likeliest."""
    return max(candidates, key=lambda law: law.log_prob(validation).mean().item())
