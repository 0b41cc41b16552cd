"""`cnf-bench check`: honest methods pass, each planted fault is named."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.errors import UserError
from replications.suite.check import faults

HONEST = '''
import torch
from torch import nn

class Flow(nn.Module):
    """Normal, with a mean and a scale for each axis."""

    def __init__(self, dim, generator):
        super().__init__()
        self.mean = nn.Parameter(torch.randn(dim, generator=generator))
        self.log_std = nn.Parameter(torch.zeros(dim))

    def log_prob(self, x):
        return torch.distributions.Normal(self.mean, self.log_std.exp()).log_prob(x).sum(-1)

    def loss(self, x, generator):
        return -self.log_prob(x).mean()

    @torch.no_grad()
    def sample(self, n, generator):
        return self.mean + self.log_std.exp() * torch.randn(n, len(self.mean), generator=generator)

def build(dim, generator):
    return Flow(dim, generator)
'''

STEPPING = (
    HONEST
    + '''
class Own:
    """Takes its own steps."""

    def __init__(self, dim, generator):
        self.flow = Flow(dim, generator)
        self.adam = torch.optim.Adam(self.flow.parameters(), 0.05)
        self.log_prob, self.sample = self.flow.log_prob, self.flow.sample

    def step(self, x, generator):
        self.adam.zero_grad()
        loss = -self.flow.log_prob(x).mean()
        loss.backward()
        self.adam.step()
        return loss.item()

def build(dim, generator):
    return Own(dim, generator)
'''
)

LOSS, DRAWN = "return -self.log_prob(x).mean()", "torch.randn(n, len(self.mean), generator=generator)"
PLANTED = {
    "samples that are too wide": (
        "self.mean + self.log_std.exp()", "self.mean + 1.4 * self.log_std.exp()", "not of the density"
    ),
    "a density above one": (".sum(-1)", ".sum(-1) + 0.5", "has the mass 1.6"),
    "a density that looks at its batch": (
        "Normal(self.mean,", "Normal(x.mean(0) if len(x) > 1 else self.mean,", "depends on the others"
    ),
    "a detached loss": (LOSS, f"{LOSS}.detach()", "detached"),
    "global draws in samples": (DRAWN, "torch.randn(n, len(self.mean))", "global random state of torch"),
    "global draws in the start": (
        "torch.randn(dim, generator=generator)", "torch.randn(dim)", "equal generators differ"
    ),
    "numpy's global draws": (
        LOSS, f"import numpy; {LOSS} + 0 * numpy.random.rand()", "global random state of numpy"
    ),
    "samples that never change": (DRAWN, "torch.ones(n, 2)", "same samples"),
    "a sum in place of a value a point": (".log_prob(x).sum(-1)", ".log_prob(x).sum()", "a tensor of shape"),
    "values that are not finite": (".sum(-1)", ".sum(-1) * float('nan')", "not finite"),
    "a loss that grows": (LOSS, "return self.log_prob(x).clamp(min=-50).mean()", "the NLL of fresh points went"),
    "an error in the loss": (LOSS, "raise KeyError('k')", "KeyError"),
}  # fmt: skip


def found(tmp_path: Path, source: str) -> list[str]:
    path = tmp_path / "mine.py"
    path.write_text(source)
    return faults(f"{path}:build")


README = Path(__file__).parents[2] / "replications/suite/README.md"
WRITTEN = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)


def test_the_readme_shows_one_method_in_less_than_sixty_lines() -> None:
    (source,) = WRITTEN
    assert len(source.splitlines()) < 60


@pytest.mark.parametrize("source", [HONEST, STEPPING, *WRITTEN], ids=["loss", "step", "README"])
def test_an_honest_method_passes(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, source) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_named(tmp_path: Path, name: str) -> None:
    before, after, said = PLANTED[name]
    assert HONEST.count(before) >= 1
    assert said in " ".join(found(tmp_path, HONEST.replace(before, after)))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_like_it", "cannot be imported: ModuleNotFoundError"),
        ("def other(): pass", "has no function build"),
        ("def build(dim, generator): raise ValueError('no')", "raised ValueError: no"),
        (
            "import torch\ndef build(dim, generator): return torch.nn.Linear(2, 2)",
            "lacks log_prob, sample, loss",
        ),
    ],
)
def test_a_file_that_can_not_be_used_is_one_line(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        found(tmp_path, source)


def test_the_verb_ends_with_one_where_something_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    for source, code in ((HONEST, 0), (HONEST.replace(".sum(-1)", ".sum(-1) + 0.5"), 1)):
        path.write_text(source)
        assert CliRunner().invoke(app, ["check", f"{path}:build"]).exit_code == code
