"""Foreign code: nothing that a file of data names or holds is run."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from bench import arrays, models, torch_files
from bench.data import convert, images
from bench.execution.run import Run
from bench.identity import identify
from bench.models import load_model
from bench.record import record_path
from bench.registry import registry
from faults.box import Box, attack, records

KIND = "foreign code"


class Code:
    """A value whose pickle runs a command of the shell."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def unrun(box: Box) -> None:
    box.check(not (box.folder / "ran").exists(), "the code was run")


def trained(box: Box) -> tuple[Path, Path]:
    """Return the record and the model of a run that kept one."""
    folder = box.results()
    (record,) = (folder / "records/fake.train").glob("*.json")
    return record, folder / "models/fake.train" / f"{record.stem}.pt"


@attack(KIND)
def a_model_that_names_code(box: Box) -> None:
    """Load models whose file names os:system, subprocess, builtins or another module as its builder."""
    import torch

    record, place = trained(box)
    sound = torch.load(place, weights_only=True)
    command = f"touch {box.folder / 'ran'}"
    for builder, arguments in (
        ("os:system", {"command": command}), ("subprocess:check_output", {"args": ["sh", "-c", command]}),
        ("builtins:exec", {"source": f"__import__('os').system({command!r})"}),
        ("bench.models:load_model", {"run": "x"}),
        ("torch:load", {"f": "x"}), (3, {}), (None, {}), ("torch.nn", {}), (":", {}),
    ):  # fmt: skip
        torch.save(sound | {"builder": builder, "arguments": arguments}, place)
        box.refused(lambda: load_model(record), "BUILDERS")
    unrun(box)


@attack(KIND)
def a_model_with_hostile_arguments(box: Box) -> None:
    """Load models of a declared builder with arguments that fill the memory, are unknown or no plain values."""
    import torch

    record, place = trained(box)
    sound = torch.load(place, weights_only=True)
    for arguments in (
        {"in_features": 2**40, "out_features": 1}, {"in_features": 2**20, "out_features": 2**20}, {"x": 1}, {}, 3, None,
        {"in_features": float("nan"), "out_features": 1}, {"in_features": {"a": 1}, "out_features": 1},
        {"in_features": -4, "out_features": 1}, {"in_features": "4", "out_features": 1},
    ):  # fmt: skip
        torch.save(sound | {"arguments": arguments}, place)
        box.refused(lambda: load_model(record), "")


@attack(KIND)
def a_model_that_is_a_pickle(box: Box) -> None:
    """Load models that are pickles with code, bare, in torch's archive and in its old format."""
    import torch

    record, place = trained(box)
    code = Code(box.folder / "ran")
    place.write_bytes(pickle.dumps(code))
    box.refused(lambda: load_model(record))
    for old in (False, True):
        torch.save({"state": code}, place, _use_new_zipfile_serialization=not old)
        box.refused(lambda: load_model(record))
    unrun(box)


@attack(KIND)
def a_model_of_another_run(box: Box) -> None:
    """Load a model under the name of another run, with changed numbers, cut off, empty, a bomb, a folder."""
    import torch

    record, place = trained(box)
    sound, whole = torch.load(place, weights_only=True), place.read_bytes()
    torch.save(sound | {"run": "0" * 64}, place)
    box.refused(lambda: load_model(record), "another run")
    torch.save(sound | {"state": {k: v + 1 for k, v in sound["state"].items()}}, place)
    box.refused(lambda: load_model(record), "numbers")
    for content in (b"", whole[:-1000], whole[:50], b"PK\x05\x06" + bytes(18), bomb("archive/data.pkl")):
        place.write_bytes(content)
        box.refused(lambda: load_model(record), str(place))
    place.unlink()
    place.mkdir()
    box.refused(lambda: load_model(record))


def bomb(name: str, size: int = 2**28) -> bytes:
    """Return an archive whose one member unpacks to many zeros."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(size))
    return stream.getvalue()


@attack(KIND)
def arrays_that_are_pickles(box: Box) -> None:
    """Read arrays of objects with code, alone, in an archive and as the arrays of a run."""
    bad, code = box.folder / "x.npy", np.array([Code(box.folder / "ran")], dtype=object)
    np.save(bad, code, allow_pickle=True)
    box.refused(lambda: arrays.read_npy(bad), "no numbers")
    np.savez(box.folder / "x.npz", a=code, allow_pickle=True)
    box.refused(lambda: arrays.read_npz(box.folder / "x.npz"), "no numbers")
    folder = box.results()
    for place in (folder / "artifacts").rglob("*.npz"):
        np.savez(place, points=code, allow_pickle=True)
    box.call("doctor", folder, code=3, says="no numbers")
    box.call("report", folder, "--out", "paper", code=(0, 3))
    unrun(box)


@attack(KIND)
def a_table_that_is_a_pickle(box: Box) -> None:
    """Read tables that old pandas pickled with code, damage that ends an interpreter, and bombs of memory and time."""
    place = box.folder / "x.pickle"
    for content in (
        pickle.dumps(Code(box.folder / "ran")), b"", b"\x80\x04.", b"cos\nsystem\n(S'touch ran'\ntR.", SEGFAULT,
        b"\x80\x02" + b"]" * 10**6 + b"." , HUGE, LAUGHS, b"\x80\x02c__builtin__\nslice\n(NNNtR.", bytes(10**6),
    ):  # fmt: skip
        place.write_bytes(content)
        box.refused(lambda: convert.frame(place), kinds=ValueError)
    unrun(box)


SEGFAULT = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01M\xe8\x03\x85"
    b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89]tb."
)
"""An array of a thousand objects without any."""
HUGE = b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x."
LAUGHS = b"\x80\x02(" + b"K\x01" + b"(" + b"2" * 3 + b"".join(b"q" + bytes([i]) for i in range(60)) + b"l."


@attack(KIND)
def weights_that_are_a_pickle(box: Box) -> None:
    """Convert published weights that are pickles with code, bombs and no checkpoint at all."""
    import torch

    place = box.folder / "x.pth"
    torch.save({"state_dict": {"a": Code(box.folder / "ran")}}, place)
    contents = [
        place.read_bytes(),
        pickle.dumps(Code(box.folder / "ran")),
        b"",
        bomb("archive/data.pkl"),
        b"\x80\x02" + b"(" * 10**6,
    ]
    for content in contents:
        place.write_bytes(content)
        box.refused(lambda: convert.checkpoint(place), kinds=ValueError)
        box.refused(lambda: torch_files.load(place))
    unrun(box)


@attack(KIND)
def images_that_are_a_pickle(box: Box) -> None:
    """Read CIFAR-10 archives whose batches are pickles with code, damage that ends an interpreter, bombs."""
    place = box.folder / "x.tar.gz"
    for content in (
        pickle.dumps({b"data": Code(box.folder / "ran")}),
        SEGFAULT,
        HUGE,
        b"",
        b"\x80\x02" + b"]" * 10**6 + b".",
    ):
        with tarfile.open(place, "w:gz") as archive:
            for name in ("test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
                info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        for split in ("train", "test"):
            box.refused(
                lambda split=split: images.load_cifar10(split, {"cifar10/cifar-10-python.tar.gz": place}),
                "Python archive",
            )
    unrun(box)


@attack(KIND)
def a_state_that_is_a_pickle(box: Box) -> None:
    """Go on from states that are pickles with code: unsealed, and sealed as this program does."""
    act = identify(registry()["fake.train"], "sgd", "smoke", 0)
    run = Run(act, box.folder / "results")
    state = pickle.dumps(Code(box.folder / "ran"))
    run.save_state("train", state)
    sealed = run.checkpoint("train").read_bytes()
    for content in (sealed, state, sealed[:-5], sealed + b"x", b"cnf-bench state\n" + b"[" * 10**5, b""):
        run.checkpoint("train").write_bytes(content)
        box.call(
            "run", "fake.train", "--tier", "smoke", "--seed", "0", "--out", "results", "--force", code=(0, 3)
        )
        run.checkpoint("train").parent.mkdir(exist_ok=True, parents=True)
        run.checkpoint("train").write_bytes(content)
        record_path(box.folder / "results", act).unlink(missing_ok=True)
        box.call("run", "fake.train", "--tier", "smoke", "--seed", "0", "--out", "results", code=(0, 3))
    unrun(box)


@attack(KIND)
def modules_in_the_present_folder(box: Box) -> None:
    """Run, report and list in a folder with random.py, json.py, torch.py, bench/ and sitecustomize.py of somebody."""
    folder = box.results()
    for name in (
        "random",
        "json",
        "torch",
        "numpy",
        "statistics",
        "sitecustomize",
        "bench/__init__",
        "fake_paper/__init__",
    ):
        box.mine(f"here/{name}.py", f"open({str(box.folder / 'ran')!r}, 'w')\nraise SystemExit(9)\n".encode())
    here = box.folder / "here"
    box.call("list", code=0, cwd=here)
    box.call("run", "fake.act/plain", "--seed", "5", "--out", "out", code=0, cwd=here)
    box.call("report", folder, "--out", "paper", code=0, cwd=here)
    unrun(box)


@attack(KIND)
def a_repository_with_hooks(box: Box) -> None:
    """Run in a checkout whose git configuration and hooks start commands."""
    here = box.folder / "here"
    here.mkdir()
    subprocess.run(["git", "init", "-q", str(here)], check=True)
    script = box.mine("hook.sh", f"#!/bin/sh\ntouch {box.folder / 'ran'}\n".encode())
    script.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "core.sshCommand"):
        subprocess.run(["git", "-C", str(here), "config", key, str(script)], check=True)
    box.call("run", "fake.act/plain", "--seed", "5", "--out", "out", code=0, cwd=here)
    unrun(box)


@attack(KIND)
def settings_that_are_code(box: Box) -> None:
    """Set values that are Python, shell, YAML tags or templates: they are words."""
    marker = box.folder / "ran"
    for value in (f"__import__('os').system('touch {marker}')", f"$(touch {marker})", f"`touch {marker}`",
                  "!!python/object/apply:os.system [x]", "{{ 1 + 1 }}", "${HOME}"):  # fmt: skip
        box.call(
            "run", "fake.act/plain", "--seed", "0", "--out", "out", "--set", f"behaviour={value}", code=0
        )
    unrun(box)


@attack(KIND)
def configs_that_name_code(box: Box) -> None:
    """Give TOML files that would set what an experiment runs, its name or its tables."""
    for text in (
        '["fake.act"]\nrun = "os:system"\n',
        '["os:system"]\nx = 1\n',
        '["fake.act".run]\nx = 1\n',
        "run = 3\n",
    ):
        box.mine("c.toml", text.encode())
        box.call("run", "fake.act/plain", "--config", "c.toml", "--out", "out", code=2)


@attack(KIND)
def records_that_lead_elsewhere(box: Box) -> None:
    """Read records whose experiment, variant or data names lead out of the folder."""
    from bench.record import read

    folder = box.results()
    text = records(folder)[0].read_text()
    for name in ("../../etc", "/etc/passwd", "..", "a/b", "a\\u0000b", "", "x" * 5000):
        place = folder / "records/fake.act/x.json"
        place.write_text(text.replace('"fake.act"', f'"{name}"', 1))
        box.refused(lambda: read(place), "malformed")  # noqa: B023
    box.call("claims", folder, code=3, says="skipped")


@attack(KIND)
def a_model_is_packed_only_of_declared_builders(box: Box) -> None:
    """Keep models whose builder is declared by no paper, or whose arguments are no plain values."""
    act = identify(registry()["fake.train"], "sgd", "smoke", 0)
    for builder, arguments in (
        ("os:system", {}),
        ("torch.nn:Linear", {"x": object()}),
        ("torch.nn:Linear", {"x": 10**9}),
    ):
        box.refused(lambda: models.packed(act, builder, arguments, {}))  # noqa: B023
