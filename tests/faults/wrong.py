"""Silently wrong: every number that is shown is that of the run, the code and the folder that it claims."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.execution.origin import MARK as SEALED
from bench.execution.run import Run
from bench.identity import Identity, identify
from bench.record import digest, find, read
from bench.registry import registry
from faults.box import Box, attack, records, statuses, wait_for

KIND = "silently wrong"


def changed(path: Path, change: Callable[[Any], Any], checksum: bool = True, own_id: bool = False) -> None:
    """Change a record, and give it the checksum and the id of what it then is."""
    tree = json.loads(path.read_text())
    tree.pop("sha256", None)
    change(tree)
    if own_id:
        tree["id"] = Identity(**tree["identity"]).id
    if checksum:
        tree["sha256"] = digest(tree)
    path.write_text(json.dumps(tree))


def a_run(folder: Path, seed: int = 0) -> Path:
    """Return the record of a run of the fake paper."""
    (found,) = (folder / "records/fake.act").glob(f"plain.cpu.s{seed}.*.json")
    return found


def put(*place: Any) -> Callable[[Any], None]:
    """Return a change that sets what lies at a path of keys to a value."""
    *keys, last, value = place

    def change(tree: Any) -> None:
        for key in keys:
            tree = tree[key]
        tree[last] = value

    return change


@attack(KIND)
def committed_records_against_ones_own(box: Box) -> None:
    """Ask for claims and a report where the committed record of a run differs from one's own."""
    for name in ("results", "reports"):
        box.results(name)
    changed(a_run(box.folder / "reports"), put("metrics", "max_error", "value", 99.0))
    mine = read(a_run(box.folder / "results")).value("max_error")
    for verb in ("claims", "report", "status"):
        more = ("--out", "paper") if verb == "report" else ()
        box.call(
            verb, *more, code=0, says=() if verb == "status" else ("99", "shown from results", "max_error")
        )
    found = find([box.folder / "results", box.folder / "reports"])
    values = {r.identity.label: r.value("max_error") for r in found.records if r.identity.seed == 0}
    box.check(mine in values.values() and 99.0 not in values.values(), "the committed number is shown")
    box.check(
        "99" in (box.folder / "paper/index.html").read_text(),
        "the page does not show the difference",
        "silent",
    )


@attack(KIND)
def a_failure_hides_a_result(box: Box) -> None:
    """Ask where an earlier folder has a failed record of a run and a later one its result."""
    for name in ("a", "b"):
        box.results(name)

    def fail(tree: Any) -> None:
        tree |= {"status": "error", "message": "it broke", "metrics": {}}

    changed(a_run(box.folder / "a"), fail)
    box._settled = [each for each in box._settled if each[0] != a_run(box.folder / "a")]
    found = find([box.folder / "a", box.folder / "b"])
    box.check(all(r.status == "done" for r in found.records), "the failure is shown")
    box.call("claims", "a", "b", code=0, says="shown from b")


@attack(KIND)
def a_record_under_another_name(box: Box) -> None:
    """Copy a record to another seed's name, another variant's, another experiment's folder, or with another id."""
    folder = box.results()
    path = a_run(folder)
    for name in (
        "fake.act/plain.cpu.s7.0123456789.json",
        path.name.replace("plain", "double"),
        f"fake.train/{path.name}",
    ):
        place = folder / "records" / (name if "/" in name else f"fake.act/{name}")
        shutil.copy(path, place)
        box.call("claims", folder, code=3, says="another name")
        place.unlink()
    box.check(len(find([folder]).records) == len(records(folder)), "a sound record is missing")
    box.call("run", "fake.act/plain", "--seeds", "3", "--out", folder, code=0, says="3 already recorded")


VALUES: dict[str, tuple[Any, ...]] = {
    "value": ("1.0", None, True, [], {}, "NaN"),
    "unit": ("seconds", 3, None),
    "protocol": ("", "  ", None, 3),
    "n": (-1, 1.5, "3", True),
    "se": (-1.0, "x", []),
}


@attack(KIND)
def metrics_of_other_types(box: Box) -> None:
    """Read records whose metric has a value, unit, protocol, count or error that none has."""
    folder = box.results()
    path = a_run(folder)
    whole = path.read_text()
    for key, values in VALUES.items():
        for value in values:
            path.write_text(whole)
            changed(path, put("metrics", "max_error", key, value))
            box.refused(lambda: read(path), "metrics")
    box.call("claims", folder, code=3, says=path.name)
    path.write_text(whole)


FIELDS: dict[str, tuple[Any, ...]] = {
    "status": ("fine", "", None, 3, ["done"]),
    "schema": (3, 0, True, "2", None, 1e9),
    "duration_s": (-1.0, "x", None),
    "started": ("yesterday", "2026-01-01", 3, "2026-13-01T00:00:00+00:00"),
    "resumed": (-1, 1.0, None),
    "metrics": ([], None, {"no such": {}}, {"max_error": 3.0}),
    "curves": ({"x": {"x": [1], "y": [1, 2], "x_label": "", "y_label": ""}}, {"x": []}),
    "artifacts": ({"x": {"shape": [-1], "dtype": "<f8", "sha256": "0" * 64}}, {"x": {"dtype": "|O"}}),
    "environment": ([], {"cores": "2"}, {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}}),
    "notes": ("n", [3]),
    "message": (3, ["x"]),
    "extra": (1,),
}


@attack(KIND)
def fields_of_other_types(box: Box) -> None:
    """Read records whose status, schema, times, curves, arrays or environment are none."""
    folder = box.results()
    path = a_run(folder)
    whole = path.read_text()
    for key, values in FIELDS.items():
        for value in values:
            path.write_text(whole)
            changed(path, put(key, value))
            box.refused(lambda: read(path))
    path.write_text(whole)


@attack(KIND)
def identities_of_other_types(box: Box) -> None:
    """Read records with repaired ids whose seed, tier, version or settings are none."""
    folder = box.results()
    path = a_run(folder)
    whole = path.read_text()
    for key, value in (
        ("seed", -1), ("seed", 1.0), ("seed", True), ("seed", "0"), ("tier", "huge"), ("version", 0), ("variant", 3),
        ("config", []), ("data", {"a": 3}), ("seeded_by", None), ("experiment", None), ("overrides", [["a", 1]]),
    ):  # fmt: skip
        path.write_text(whole)
        changed(path, put("identity", key, value), own_id=True)
        box.refused(lambda: read(path))
    path.write_text(whole)


@attack(KIND)
def a_value_changed_by_hand(box: Box) -> None:
    """Read a record of which a digit was changed by hand."""
    folder = box.results()
    path = a_run(folder)
    whole = path.read_text()
    changed(path, put("metrics", "nfe", "value", 8.0), checksum=False)
    tree = json.loads(path.read_text()) | {"sha256": json.loads(whole)["sha256"]}
    path.write_text(json.dumps(tree))
    box.refused(lambda: read(path), "sha256")
    box.call("report", folder, "--out", "paper", code=3, says="sha256")
    box.call("show", path, code=2, says="sha256")
    path.write_text(whole)


@attack(KIND)
def arrays_of_another_run(box: Box) -> None:
    """Show, report and read arrays that are another run's, cut off, missing, or a bomb."""
    from faults.code import bomb

    folder = box.results()
    (place,) = (folder / "artifacts").rglob("*.npz")
    (path,) = (p for p in records(folder) if read(p).artifacts)
    whole = place.read_bytes()
    for content in (whole[:-30], b"", bomb("points.npy"), whole.replace(b"points", b"point2"), None):
        place.unlink(missing_ok=True)
        if content is not None:
            place.write_bytes(content)
        box.refused(lambda: read(path).array("points"))
        box.call("doctor", folder, code=3, says=place.name.removesuffix(".npz"))
    box.call("report", folder, "--out", "paper", code=(0, 3))


@attack(KIND)
def a_state_of_other_code(box: Box) -> None:
    """Go on with a training after its code, torch or its settings have changed: it starts afresh and says so."""
    paper = box.paper()
    run = ("run", "fake.train", "--tier", "cpu", "--seed", "0", "--out", "out")
    state = Run(identify(registry()["fake.train"], "sgd", "cpu", 0), box.folder / "out").checkpoint("train")
    for change in ("code", "torch"):
        process = box.start(*run, env=box.with_paper(paper))
        wait_for(state.is_file)
        process.terminate()
        box.judge(box.finish(process), 143, (), "terminated")
        if change == "code":
            source = paper / "fake_paper/runs.py"
            source.write_text(source.read_text().replace("lr=0.05", "lr=0.04"))
        else:
            mark, head, rest = state.read_bytes().split(b"\n", 2)
            state.write_bytes(SEALED + head.replace(b'"torch": "', b'"torch": "9') + b"\n" + rest)
            assert mark + b"\n" == SEALED
        box.call(*run, code=0, env=box.with_paper(paper))
        (path,) = (box.folder / "out/records/fake.train").glob("*.json")
        made = read(path)
        box.check(made.resumed == 0, "it went on with a state of other code")
        box.check(any("another" in note for note in made.notes), f"no word of it in {made.notes}", "silent")
        path.unlink()


@attack(KIND)
def a_state_of_the_same_code(box: Box) -> None:
    """Go on with a training that SIGTERM ended: the result is bit for bit that of a run in one piece."""
    run = ("run", "fake.train", "--tier", "cpu", "--seed", "0")
    box.call(*run, "--out", "whole", code=0)
    process = box.start(*run, "--out", "cut")
    box.check(wait_for(lambda: list((box.folder / "cut").rglob("*.train.pt"))), "no state was kept")
    process.terminate()
    box.judge(box.finish(process), 143, "interrupted", "terminated")
    box.check(statuses(box.folder / "cut") == ["interrupted"], "no record of the interruption", "lost")
    box.call(*run, "--out", "cut", code=0)
    whole, cut = (read(records(box.folder / name)[0]) for name in ("whole", "cut"))
    box.check(cut.resumed == 1, "it did not go on")
    box.check(whole.metrics == cut.metrics, "another result")


@attack(KIND)
def records_of_one_run_twice(box: Box) -> None:
    """Put a record of one run into a folder twice: beside itself, in another case, as a link, in two folders."""
    folder = box.results()
    count = len(find([folder]).records)
    path = a_run(folder)
    shutil.copy(path, path.with_name(f"copy of {path.name}"))
    shutil.copy(path, path.with_name(path.name.upper()))
    box.call("claims", folder, code=3, says="another name")
    shutil.copytree(folder / "records/fake.act", folder / "records/FAKE.act")
    box.call("report", folder, "--out", "paper", code=3)
    box.check(len(find([folder]).records) == count, "a run counts twice")
    again = find([folder, folder])
    box.check(len(again.records) == count, "the same folder given twice counts twice")


@attack(KIND)
def doubles_are_named(box: Box) -> None:
    """Ask status and report --check of two folders that have different records of one run."""
    for name in ("a", "b"):
        box.results(name)
    changed(a_run(box.folder / "b"), put("metrics", "max_error", "value", 99.0))
    box.call("status", "a", "b", code=0, says=("99", "not from b"))
    box.call("report", "a", "b", "--out", "paper", code=0, says=("99", "not from b"))
    box.call("report", "a", "b", "--out", "paper", "--check", code=0, says=("99", "not from b"))


@attack(KIND)
def clocks_set_back(box: Box) -> None:
    """Read and repeat records that were started in the future, in 1970 and in the year 9999."""
    folder = box.results()
    for when in ("2099-01-01T00:00:00+00:00", "1970-01-01T00:00:00+00:00", "9999-12-31T23:59:59+14:00",
                 "0001-01-01T00:00:00+14:00"):  # fmt: skip
        changed(a_run(folder), put("started", when))
        box.call("report", folder, "--out", "paper", code=0)
        box.call("status", folder, code=0)
        box.call("show", a_run(folder), code=0, says=when[:10])
    box.call("run", "fake.act/plain", "--seed", "0", "--force", "--out", folder, code=0)
    box.check(
        read(a_run(folder)).started.startswith("20") and "2099" not in a_run(folder).read_text(),
        "not renewed",
    )


@attack(KIND)
def a_settled_record_of_another_device(box: Box) -> None:
    """Ask a run of the processor where the folder has its record of a GPU: it is not taken for the processor's."""
    folder = box.results()

    def on_gpu(tree: Any) -> None:
        tree["environment"]["device"] = "cuda:0"

    changed(a_run(folder), on_gpu)
    box.call("run", "fake.act/plain", "--seed", "0", "--out", folder, code=0, says="1 runs to do")


@attack(KIND)
def settings_that_make_another_variant(box: Box) -> None:
    """Set what would make a run another variant, or a claim's number: such a run settles nothing."""
    box.call("run", "fake.act/plain", "--set", "factor=2.0", "--out", "out", code=2, says="fake.act/double")
    folder = box.results()
    before = box.call("claims", folder, code=0).out
    box.call("run", "fake.act/plain", "--set", "factor=99.0", "--seeds", "3", "--out", folder, code=0)
    box.check(box.call("claims", folder, code=0).out == before, "a changed setting moved a verdict")
