"""Models that somebody else made: names choose no code, numbers no memory, damage no traceback."""

import io
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

import bench
from bench import files
from bench.errors import UserError
from bench.execution.run import Run
from bench.identity import identify
from bench.models import _digest, model_path, packed
from bench.record import Record, record_path, write
from bench.registry import builders, registry, resolve

LINEAR = "torch.nn:Linear"
SIZES = {"in_features": 4, "out_features": 1}


@pytest.fixture
def run(fake_paper, tmp_path: Path) -> Run:
    identity = identify(registry()["fake.act"], "plain", "cpu", 0)
    write(tmp_path, Record(identity, "done"))
    return Run(identity, tmp_path)


def received(run: Run, /, **changes: Any) -> Path:
    """Put a model of somebody else beside the record; return the record's path."""
    content = {
        "run": run.identity.id, "builder": LINEAR, "arguments": SIZES, "state": torch.nn.Linear(4, 1).state_dict(),
    }  # fmt: skip
    content |= changes
    with suppress(AttributeError):  # a state that is none
        content = {"sha256": _digest(content["state"])} | content
    stream = io.BytesIO()
    torch.save(content, stream)
    files.write(model_path(run.folder, run.identity), stream.getvalue(), run.folder)
    return record_path(run.folder, run.identity)


def test_a_kept_model_comes_back(run: Run) -> None:
    model = torch.nn.Linear(4, 1)
    run.save_model(LINEAR, SIZES, model.state_dict())
    assert not model_path(run.folder, run.identity).exists()
    run.write_model()
    loaded = bench.load(record_path(run.folder, run.identity))
    assert torch.equal(loaded.weight, model.weight)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"builder": "os:system", "arguments": {"command": "touch {marker}"}}, "BUILDERS"),
        ({"builder": "builtins:exec"}, "BUILDERS"),
        ({"builder": "torch.nn:Linear.__init__"}, "BUILDERS"),
        ({"builder": 3}, "BUILDERS"),
        ({"builder": ["torch.nn:Linear"]}, "BUILDERS"),
        ({"builder": "not a name"}, "BUILDERS"),
        ({"arguments": [4, 1]}, "no mapping"),
        ({"arguments": {"in_features": 4}}, "out_features"),
        ({"arguments": SIZES | {"surprise": 1}}, "surprise"),
        ({"arguments": {"in_features": 10**12, "out_features": 1}}, "in_features"),
        ({"arguments": {"in_features": 2**20, "out_features": 2**20}}, "far larger"),
        ({"arguments": {"in_features": float("nan"), "out_features": 1}}, "in_features"),
        ({"arguments": {"in_features": torch.ones(2), "out_features": 1}}, "in_features"),
        ({"arguments": {"in_features": "4", "out_features": 1}}, "repeat the run"),
        ({"arguments": {"in_features": 5, "out_features": 1}}, "size mismatch"),
        ({"state": {}}, "Missing"),
        ({"state": 3}, "other things"),
        ({"state": {"weight": 1, "bias": 2}}, "other things"),
        ({"run": "0" * 64}, "another run"),
        ({"more": 1}, "other things"),
        ({"sha256": "0" * 64}, "not those that were written"),
    ],
)
def test_a_received_model_is_built_by_a_declared_builder_or_refused(
    run: Run, tmp_path: Path, changes, fault
) -> None:
    marker = tmp_path / "marker"
    if "command" in changes.get("arguments", ()):
        changes = changes | {"arguments": {"command": f"touch {marker}"}}
    path = received(run, **changes)
    with pytest.raises(UserError, match=fault) as caught:
        bench.load(path)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


class Harmful:
    def __reduce__(self):
        import os

        return os.system, ("touch marker",)


def test_a_pickled_call_is_refused_uncalled(run: Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = received(run, state=Harmful())
    with pytest.raises(UserError, match="cannot read"):
        bench.load(path)
    assert not (tmp_path / "marker").exists()


def test_a_compressed_model_is_not_unpacked(run: Run) -> None:
    path = received(run)
    place = model_path(run.folder, run.identity)
    with zipfile.ZipFile(place) as stored, zipfile.ZipFile(f"{place}.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        for member in stored.namelist():
            bomb.writestr(member, stored.read(member))
    Path(f"{place}.zip").replace(place)
    with pytest.raises(UserError, match="compressed"):
        bench.load(path)


def test_a_damaged_model_is_one_clear_error(run: Run) -> None:
    path = received(run)
    place = model_path(run.folder, run.identity)
    whole = place.read_bytes()
    for content in (b"", b"PK", whole[:-40], whole[: len(whole) // 2], b"x" * 500):
        place.write_bytes(content)
        with pytest.raises(UserError, match="cannot read"):
            bench.load(path)


def test_a_model_is_kept_only_with_a_declared_builder_and_plain_arguments(run: Run) -> None:
    with pytest.raises(UserError, match="BUILDERS"):
        run.save_model("torch.nn:Bilinear", SIZES, {})
    with pytest.raises(UserError, match="argument 'x'"):
        packed(run.identity, LINEAR, {"x": object()}, {})


def test_every_declared_builder_is_there() -> None:
    assert len(builders()) > 5
    for name in builders():
        assert callable(resolve(name))


def test_a_changed_number_is_not_the_model(run: Run) -> None:
    path = received(run)
    place = model_path(run.folder, run.identity)
    weight = torch.load(place, weights_only=True)["state"]["weight"]
    data = place.read_bytes()
    at = data.index(weight.numpy().tobytes())
    place.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(UserError):
        bench.load(path)
