"""Every parser of what a user or somebody else wrote, by name: a good input, how it is damaged, and the call."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
import random
import shutil
import tarfile
import tempfile
import tomllib
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from mutants import of_bytes, of_json, of_tree

from bench import arrays, files, models, record
from bench.claim import Claim, find_claims, read_claims
from bench.data import images, registry, tabular
from bench.data.registry import DataFile, DataSet
from bench.errors import UserError
from bench.execution.run import Run
from bench.experiment import Experiment
from bench.identity import Identity, identify
from bench.record import Measured, Record
from bench.registry import read_overrides
from bench.registry import registry as experiments
from bench.report import manifest
from bench.report.costs import Spent, spent
from bench.settings import read_setting, replace
from bench.verdict import Verdict

Mutate = Callable[[bytes, random.Random], bytes]


@dataclasses.dataclass(frozen=True)
class Parser:
    """A good input, the call on a folder and an input, and what damages the input."""

    good: Callable[[Path], bytes]
    call: Callable[[Path, bytes], Any]
    mutate: Mutate = of_bytes


def act() -> Identity:
    return identify(experiments()["fake.act"], "plain", "cpu", 0)


def a_record(folder: Path) -> bytes:
    made = Record(act(), "done", started="2026-01-01T00:00:00+00:00", message="m", last_t=0.5, nfe=3)
    made.metrics = {"max_error": Measured(1.0, "", "p", 3, 0.5), "nfe": Measured(7.0, "evaluations", "q")}
    made.curves = {"c": record.Curve((0.0, 1.0), (1.0, 2.0), "x", "y")}
    made.artifacts = {"a": record.describe(np.ones(3))}
    made.environment = {
        "cores": 2,
        "gpu": None,
        "versions": {"torch": "2"},
        "commit": "0" * 40,
        "dirty": False,
    }
    made.notes = ["n"]
    return record.write(folder, made).read_bytes()


def read_record(folder: Path, content: bytes) -> Any:
    path = record.record_path(folder, act())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    found = record.read(path)
    assert found.metrics["max_error"] == Measured(1.0, "", "p", 3, 0.5) or b'"sha256": "' not in content
    return found


def repaired(content: bytes, rng: random.Random) -> bytes:
    """Change the tree of a record and give it the id of what it then is, where it has one."""
    tree = json.loads(content)
    del tree["sha256"]
    tree = of_tree(tree, rng)
    with suppress(TypeError, KeyError, ValueError, AttributeError):
        tree["id"] = Identity(**tree["identity"]).id
    return json.dumps(tree).encode()


OTHERS = 10
"""Claims of other papers that are judged beside those of the fake one: they read no damaged record, and take time."""


@cache
def some_claims() -> tuple[list[Claim], list[str]]:
    claims, bad = find_claims()
    own = [claim for claim in claims if claim.paper == "fake"]
    return own + [claim for claim in claims if claim.paper != "fake"][:OTHERS], bad


def some_spent(
    known: Sequence[Experiment], found: Sequence[Record], verdicts: Sequence[Verdict]
) -> list[Spent]:
    """Return what experiments cost, of those with a record or of the fake paper: to plan all the others takes long."""
    names = {record.identity.experiment for record in found}
    return spent([e for e in known if e.name in names or e.name.startswith("fake.")], found, verdicts)


@contextmanager
def quick_report() -> Iterator[None]:
    """Let a report draw nothing, and judge and cost only what a damaged record can reach."""
    with ExitStack() as stack:
        for name, change in {
            "draw_all": lambda *_: (),
            "find_claims": some_claims,
            "spent": some_spent,
        }.items():
            stack.enter_context(patch(f"bench.report.content.{name}", change))
        yield


def read_repaired(folder: Path, content: bytes) -> Any:
    """Put it under the name that it claims to have, read the folder, and use what was read in every way."""
    from rich.console import Console

    from bench.report.build import files as report_files
    from bench.report.content import collect
    from bench.report.show import show
    from bench.report.status import outdated, summary

    shutil.rmtree(folder / "records", ignore_errors=True)
    try:
        files.write(record.record_path(folder, Identity(**json.loads(content)["identity"])), content, folder)
    except (TypeError, KeyError, ValueError, AttributeError, UserError, OSError):
        return read_record(folder, content)
    found = record.find([folder])
    list(summary(outdated(found.records)))
    with quick_report():
        list(report_files(collect(found.records, found.hidden)))
    for one in found.records:
        Console(file=io.StringIO()).print(show(one))
    return found


CLAIMS = b"""[[claim]]
id = "fake.double"
text = "twice"
where = "section 1"
kind = "ratio"
source = "read"
value = 2.0
unit = "x"
tolerance = 0.05
margin_reason = "made up"
experiment = "fake.act"
variant = "double"
metric = "max_error"
against = { variant = "plain" }

[[claim]]
id = "fake.order"
text = "more"
where = "table 2"
kind = "order"
source = "recalled"
relation = ">"
scale = 1.0
experiment = "fake.act"
variant = "double"
metric = "max_error"
against = { variant = "plain", metric = "nfe" }
difference = true

[[claim]]
id = "fake.text"
text = "said"
where = "here"
kind = "text"
source = "derived"
verdict = "impossible"
note = "because"
"""
CONFIG = b'["fake.act"]\nbehaviour = "raise"\nfactor = 2.0\n\n["fake.train"]\niterations = 3\npause = 0.5\n'
SETTINGS = (
    "factor=2",
    "lr=1e-3",
    "hidden=[64, 64]",
    "solver=dopri5",
    "training.lr=0.1",
    "b=0.3",
    "rtol=1e-5",
    "data=moons",
)


def toml_of(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml_of(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    return '"none"' if value is None else json.dumps(value)


def of_claims(content: bytes, rng: random.Random) -> bytes:
    """Change the bytes of claims, or one value of one claim."""
    if rng.random() < 0.3:
        return of_bytes(content, rng)
    tables = of_tree(tomllib.loads(content.decode())["claim"], rng)
    whole = [table for table in tables if isinstance(table, dict)]
    lines = [
        "[[claim]]\n" + "".join(f"{json.dumps(k)} = {toml_of(v)}\n" for k, v in t.items()) for t in whole
    ]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def read_verdicts(folder: Path, content: bytes) -> Any:
    """Read claims and judge them, for tables too."""
    from bench.report import corrections, verdicts
    from bench.report.table import csv_text
    from bench.verdict import judge_all

    judged = judge_all(read_claims(written(folder, "claims.toml", content), "fake"), [])
    csv_text(verdicts.CSV_HEADER, verdicts.csv_rows(judged))
    return verdicts.table(judged, "t"), corrections.document(judged)


def a_setting(_: Path) -> bytes:
    return b"\n".join(text.encode() for text in SETTINGS)


def set_values(folder: Path, content: bytes) -> Any:
    """Set what each line says in some configs, and in each a field that it has."""
    rng = random.Random(content)
    for line in content.decode("utf-8", "surrogateescape").split("\n"):
        key, value = read_setting(line)
        for experiment in rng.sample(list(experiments().values()), 4):
            fields = [f.name for f in dataclasses.fields(experiment.config)]
            for name in (key, rng.choice(fields)):
                with suppress(UserError):
                    made = replace(experiment.config, {name: value}, experiment.name)
                    json.dumps(dataclasses.asdict(made), allow_nan=False).encode()
    return None


def npy_file(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def npz_file(_: Path) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.arange(6.0).reshape(2, 3), b=np.zeros((2, 2, 2), np.uint8))
    return stream.getvalue()


def idx_file(_: Path) -> bytes:
    header = bytes([0, 0, 8, 3]) + np.array([2, 3, 3], ">u4").tobytes()
    return header + bytes(range(18))


BETWEEN = b"\f"
"""What parts the two files of a set."""
TOY = tabular._Recipe(tabular._hepmass, 3, (14, 1, 15))


def csv_files(_: Path) -> bytes:
    rows = [f"{i % 2}.0,{i}.5,{-i}e-3,{i}" for i in range(30)]
    train, test = (
        "\n".join(["# label,f0,f1,f2", *rows]),
        "\n".join(["# label,f0,f1,f2,mass", *(f"{r},1" for r in rows)]),
    )
    return train.encode() + BETWEEN + test.encode()


def read_csv(folder: Path, content: bytes) -> Any:
    for part, file in zip(("train", "test"), content.partition(BETWEEN)[::2], strict=True):
        written(folder, f"data/hepmass/1000_{part}.csv", file)
    environment = {"CNF_BENCH_DATA": str(folder / "data"), "CNF_BENCH_CACHE": str(folder / "cache")}
    with patch.dict(os.environ, environment), patch.dict(tabular._RECIPES, hepmass=TOY):
        found = tabular.load("hepmass")
    assert all(
        np.isfinite(part).all() and part.shape[1] == TOY.d
        for part in (found.train, found.validation, found.test)
    )
    return found


def tar_file(_: Path) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in {
            "data/toy/a": b"alpha" * 50,
            "../data/toy/b": b"beta",
            "c/d": b"x" * 600,
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("data/toy/c")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return stream.getvalue()


def extract(folder: Path, content: bytes) -> Any:
    """Fetch a set out of the archive, whatever its checksum, and see that nothing lies elsewhere."""
    cache = folder / "cache"
    for name in ("a", "b"):
        (cache / "toy" / name).unlink(missing_ok=True)
    written(cache, "box/it", content)
    box = DataSet("box", "b", "none", (), (DataFile("box/it"),))
    toy = DataSet("toy", "t", "none", files=(DataFile("toy/a"), DataFile("toy/b")), archive="box")
    environment = {"CNF_BENCH_DATA": "", "CNF_BENCH_CACHE": str(cache)}
    with (
        patch.dict(os.environ, environment),
        patch.object(registry, "_registry", lambda: {"box": box, "toy": toy}),
    ):
        try:
            return toy.fetch()
        finally:
            left = {str(p.relative_to(cache)) for p in cache.rglob("*") if not p.is_dir()}
            assert left <= {"box/it", "toy/a", "toy/b"}, left


def a_model(folder: Path) -> bytes:
    import torch

    record.write(folder, Record(act(), "done"))
    state = {"weight": torch.arange(4.0)[None], "bias": torch.ones(1)}
    return models.packed(act(), "torch.nn:Linear", {"in_features": 4, "out_features": 1}, state)


def load_model(folder: Path, content: bytes) -> Any:
    files.write(models.model_path(folder, act()), content, folder)
    model = models.load_model(record.record_path(folder, act()))
    assert model.weight.tolist() == [[0.0, 1.0, 2.0, 3.0]]
    assert model.bias.tolist() == [1.0]
    return model


def a_state(folder: Path) -> bytes:
    train(folder / "first")
    return Run(act(), folder / "first").checkpoint("train").read_bytes()


def train(folder: Path) -> Any:
    import torch

    from replications.flows.training.loop import train as loop
    from replications.flows.training.settings import Training

    run, model = Run(act(), folder), torch.nn.Linear(2, 1)
    log = loop(run, model, lambda i: model.weight.square().sum(), Training(3, 0.1, checkpoint_seconds=0))
    assert len(log.losses) == 3
    return log


def resume(folder: Path, content: bytes) -> Any:
    run = Run(act(), folder)
    files.write(run.checkpoint("train"), content, folder)
    return train(folder)


def a_sealed_state(folder: Path) -> bytes:
    train(folder / "first")
    state = Run(act(), folder / "first").load_state("train")
    assert state is not None
    return state


def resume_sealed(folder: Path, content: bytes) -> Any:
    Run(act(), folder).save_state("train", content)
    return train(folder)


def a_manifest(folder: Path) -> bytes:
    manifest.publish(folder / "first", {"index.html": b"1", "tables/a.md": b"2"})
    return (folder / "first" / manifest.NAME).read_bytes()


def publish(folder: Path, content: bytes) -> Any:
    out = folder / "out"
    for name, data in {
        "index.html": b"1",
        "tables/a.md": b"2",
        "mine.md": b"mine",
        manifest.NAME: content,
    }.items():
        written(out, name, data)
    try:
        manifest.publish(out, {"index.html": b"3"})
    finally:
        assert (out / "mine.md").read_bytes() == b"mine"


PARSERS: dict[str, Parser] = {
    "record": Parser(a_record, read_record, of_json),
    "repaired record": Parser(a_record, read_repaired, repaired),
    "claims": Parser(lambda _: CLAIMS, read_verdicts, of_claims),
    "config": Parser(lambda _: CONFIG, lambda f, c: read_overrides(written(f, "config.toml", c))),
    "settings": Parser(a_setting, set_values),
    "manifest": Parser(a_manifest, publish, of_json),
    "idx": Parser(idx_file, lambda f, c: images._read_idx(written(f, "x.gz", gzip.compress(c, 1)), 3)),
    "gz": Parser(
        lambda f: gzip.compress(idx_file(f)), lambda f, c: images._read_idx(written(f, "x.gz", c), 3)
    ),
    "npy": Parser(lambda _: npy_file(np.ones((4, 5))), lambda f, c: arrays.read_npy(written(f, "x.npy", c))),
    "npz": Parser(npz_file, lambda f, c: arrays.read_npz(written(f, "x.npz", c))),
    "csv": Parser(csv_files, read_csv),
    "tar": Parser(tar_file, extract),
    "tar.gz": Parser(lambda f: gzip.compress(tar_file(f)), extract),
    "model": Parser(a_model, load_model),
    "state": Parser(a_state, resume),
    "sealed state": Parser(a_sealed_state, resume_sealed),
}


def attack(name: str, count: int, seed: int = 0) -> tuple[dict[str, int], list[tuple[int, str]]]:
    """Return how many damaged inputs ended how, and the seed and traceback of those that ended as none may."""
    parser, ends, bad = PARSERS[name], {"value": 0, "error": 0, "traceback": 0}, []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        good = parser.good(folder)
        for i in range(seed, seed + count):
            content = parser.mutate(good, random.Random(f"{name}/{i}"))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    parser.call(folder, content)
                ends["value"] += 1
            except UserError as error:
                ends["error"] += 1
                if "\n" in str(error):
                    bad.append((i, f"more than one line: {error}"))
            except Exception:
                ends["traceback"] += 1
                bad.append((i, traceback.format_exc()))
    return ends, bad
