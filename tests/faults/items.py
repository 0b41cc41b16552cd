"""One bad item stops nothing else: it is skipped, named, and the exit code says so."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from bench.record import find
from faults.box import Box, attack, bound, records, statuses
from faults.wrong import a_run, changed, put

KIND = "one bad item"
VERBS = (("claims",), ("status",), ("report", "--out", "paper"))


def all_verbs(
    box: Box, folder: Path, code: int = 3, says: str | tuple[str, ...] = (), **options: object
) -> None:
    """Call every verb that reads a folder."""
    for verb, *more in VERBS:
        box.call(verb, folder, *more, code=code, says=says, **options)


DAMAGE: dict[str, bytes] = {
    "empty": b"", "zeros": bytes(4096), "binary": bytes(range(256)) * 9, "no object": b"[]", "null": b"null",
    "deep": b"[" * 10**6, "deep objects": b'{"a":' * 10**5, "digits": b'{"a": ' + b"9" * 10**6 + b"}",
    "exponent": b'{"a": 1e999999999}', "nan": b'{"a": NaN}', "twice": b'{"a": 1, "a": 2}', "mark": b"\xef\xbb\xbf{}",
    "utf16": '{"a": 1}'.encode("utf-16"), "half a pair": b'{"a": "\\ud800"}', "controls": b'{"\\u001b[2J": 1}',
    "long key": b'{"' + b"k" * 10**6 + b'": 1}', "html": b"<!doctype html>", "pickle": b"\x80\x04K\x01.",
}  # fmt: skip


@attack(KIND)
def one_damaged_record(box: Box) -> None:
    """Put a damaged record among sound ones, in 18 ways: empty, binary, deep, long, with NaN, twice a key."""
    folder = box.results()
    count = len(find([folder]).records)
    place = folder / "records/fake.act/plain.cpu.s9.0123456789.json"
    for what, content in DAMAGE.items():
        place.write_bytes(content)
        found = find([folder])
        box.tally.tried += 1
        box.check(len(found.records) == count, f"{what}: sound records are missing")
        box.check(len(found.bad) == 1 and place.name in found.bad[0], f"{what}: it is not named", "silent")
        box.call("show", place, code=2, says=place.name)
    all_verbs(box, folder, says=place.name)
    box.call("run", "fake.act/plain", "--seed", "9", "--out", folder, code=(0, 3))


@attack(KIND)
def a_record_that_was_cut(box: Box) -> None:
    """Cut a record short as a copy to a full disk does; the run is repeated, the rest is shown, the cut one is kept."""
    folder = box.results(guarded=False)
    path = a_run(folder)
    cut = path.read_bytes()[:-200]
    path.write_bytes(cut)
    all_verbs(box, folder, says=path.name)
    box.call(
        "run", "fake.act/plain", "--seeds", "3", "--out", folder, code=3, says=("1 runs to do", path.name)
    )
    kept = [p for p in folder.rglob("*damaged*") if p.read_bytes() == cut]
    box.check(kept, "the cut record is gone", "lost")
    box.call("run", "fake.act/plain", "--seeds", "3", "--out", folder, code=0, says="0 runs to do")


@attack(KIND)
def stray_things_in_the_folder(box: Box) -> None:
    """Put files, folders, links, a pipe and a socket into a folder of records: none stops or blocks a verb."""
    folder = box.results()
    here = folder / "records/fake.act"
    box.mine(here / "notes.txt")
    box.mine(here / "x.json/inner.txt")
    box.mine(folder / "records/.DS_Store")
    box.mine(folder / "records/Thumbs.db")
    box.link(here / "loop.json", "loop.json")
    box.link(here / "device.json", "/dev/zero")
    box.link(here / "gone.json", "nowhere")
    os.mkfifo(here / "pipe.json")
    os.chdir(here)
    with socket.socket(socket.AF_UNIX) as stream:
        stream.bind("socket.json")
        all_verbs(box, folder, says=("pipe.json", "x.json"))
        box.call("run", "fake.act/plain", "--seeds", "3", "--out", folder, code=0, says="3 already recorded")
        box.call("doctor", folder, code=3, says=("pipe.json", "notes.txt", "socket.json"))
        for name in ("pipe", "socket", "device", "loop", "x"):
            box.call("show", here / f"{name}.json", code=2)


@attack(KIND)
def a_record_that_can_not_be_read(box: Box) -> None:
    """Take away the right to read a record, and a folder of them."""
    folder, wall = box.results(), bound()
    path = a_run(folder)
    path.chmod(0)
    all_verbs(box, folder, says=path.name, before=wall)
    path.chmod(0o644)
    here = folder / "records/fake.train"
    here.chmod(0)
    for verb, *more in VERBS:
        ended = box.call(verb, folder, *more, code=(2, 3), before=wall)
        box.check("fake.train" in ended.err, "the folder is not named", "silent")
    here.chmod(0o755)


@attack(KIND)
def a_hundred_bad_records(box: Box) -> None:
    """Put a hundred damaged records beside one that is sound."""
    folder = box.results()
    for i in range(100):
        changed(Path(shutil.copy(a_run(folder), folder / f"records/fake.act/plain.cpu.s{100 + i}.0123456789.json")),
                put("status", "x"))  # fmt: skip
    all_verbs(box, folder, says="100 skipped")


@attack(KIND)
def a_large_record(box: Box) -> None:
    """Read a record of 40 MB, and a sparse one of a terabyte."""
    folder = box.results()
    place = folder / "records/fake.act/plain.cpu.s9.0123456789.json"
    place.write_bytes(b" " * 40_000_000)
    all_verbs(box, folder, says="bytes, more than")
    with place.open("r+b") as stream:
        try:
            stream.truncate(2**40)
        except OSError:
            stream.truncate(2**33)
    all_verbs(box, folder, says="bytes, more than")


@attack(KIND)
def a_damaged_data_file(box: Box) -> None:
    """Run an experiment whose data file is damaged, with one that needs none: that one runs, the other is recorded."""
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            box.mine(f"data/mnist/{part}-{kind}-ubyte.gz", b"damaged")
    ended = box.call("run", "lecture.mnist/mnist", "fake.act/plain", "--tier", "smoke", "--seed", "0", "--out", "out",
                     code=3, says="mnist", env={"CNF_BENCH_DATA": str(box.folder / "data")})  # fmt: skip
    box.check(
        sorted(statuses(box.folder / "out")) == ["done", "error"],
        f"{statuses(box.folder / 'out')} {ended.err}",
    )


@attack(KIND)
def no_network(box: Box) -> None:
    """Run an experiment whose data is to be downloaded, without a network, with one that needs none."""
    ended = box.call("run", "lecture.mnist/mnist", "fake.act/plain", "--tier", "smoke", "--seed", "0", "--out", "out",
                     code=3, says="could not be downloaded")  # fmt: skip
    box.check("done" in statuses(box.folder / "out"), f"the other did not run: {ended.err}")
    box.call("run", "lecture.mnist/mnist", "fake.act/plain", "--tier", "smoke", "--seed", "0", "--out", "out2",
             "--offline", code=0, says="skipped")  # fmt: skip
    box.check(statuses(box.folder / "out2") == ["done"], "offline: not only the other ran")


@attack(KIND)
def a_state_that_never_fits(box: Box) -> None:
    """Leave a state of another run, of rubbish, empty or a folder in a state's place: the run starts afresh, once."""
    from bench.execution.run import Run
    from bench.identity import identify
    from bench.registry import registry

    run = Run(identify(registry()["fake.train"], "sgd", "smoke", 0), box.folder / "out")
    other = Run(identify(registry()["fake.train"], "sgd", "smoke", 1), box.folder / "out")
    other.save_state("train", b"state")
    for content in (other.checkpoint("train").read_bytes(), b"rubbish", b"", b"\0" * 10**6):
        shutil.rmtree(box.folder / "out/records", ignore_errors=True)
        run.checkpoint("train").write_bytes(content)
        box.call("run", "fake.train", "--tier", "smoke", "--seed", "0", "--out", "out", code=0)
        box.check(any(f.notes for f in find([box.folder / "out"]).records), "no note of it", "silent")
        box.check(not run.checkpoint("train").exists(), "the bad state stays")


@attack(KIND)
def a_folder_of_an_older_version(box: Box) -> None:
    """Ask for everything in a folder with records of schema 1, of which one is damaged."""
    folder = box.results()
    tree = a_run(folder).read_text()
    for seed, text in ((20, tree.replace('"schema": 2', '"schema": 1')), (21, '{"schema": 1}')):
        (folder / f"records/fake.act/plain.cpu.s{seed}.0123456789.json").write_text(text)
    all_verbs(box, folder, says="cnf-bench migrate")
    box.call("doctor", folder, code=3, says="migrate")
    box.call("migrate", folder, code=3, says="malformed")


@attack(KIND)
def a_folder_of_a_newer_version(box: Box) -> None:
    """Ask for everything in a folder with a record of schema 3: it is named, and never overwritten without a copy."""
    folder = box.results(guarded=False)
    path = a_run(folder)
    newer = path.read_text().replace('"schema": 2', '"schema": 3')
    path.write_text(newer)
    all_verbs(box, folder, says="this version reads 2")
    box.call("run", "fake.act/plain", "--seed", "0", "--out", folder, code=3)
    box.check(
        any(p.read_text() == newer for p in folder.rglob("*.json*")), "the newer record is gone", "lost"
    )


BROKEN = {
    "no module": None,
    "a fault at import": "raise ValueError('planted')",
    "a fault of syntax": "def :",
    "it exits": "raise SystemExit(0)",
    "it interrupts": "raise KeyboardInterrupt",
    "no experiments": "x = 1",
    "no tuple": "EXPERIMENTS = 3",
    "other things": "EXPERIMENTS = (1, 2)",
    "no declared builders": "EXPERIMENTS = ()\nBUILDERS = 3",
    "a name twice": "from fake_paper.experiments import EXPERIMENTS",
}


@attack("broken papers")
def papers_that_can_not_be_imported(box: Box) -> None:
    """Install papers that are missing, raise, exit, or declare no experiments: it is named, the others are listed."""
    for i, (what, text) in enumerate(BROKEN.items()):
        place = box.folder / f"paper{i}"
        (place / f"odd{i}-0.1.dist-info").mkdir(parents=True)
        (place / f"odd{i}-0.1.dist-info/METADATA").write_text(
            f"Metadata-Version: 2.1\nName: odd{i}\nVersion: 0.1\n"
        )
        (place / f"odd{i}-0.1.dist-info/entry_points.txt").write_text(
            f"[cnf_bench.papers]\nodd{i} = odd{i}_paper\n"
        )
        if text is not None:
            (place / f"odd{i}_paper.py").write_text(text)
        path = os.pathsep.join((str(place), box.environment["PYTHONPATH"]))
        if what == "it interrupts":  # no one can tell it from a person's Ctrl-C
            box.call("list", code=130, env={"PYTHONPATH": path})
            continue
        box.call("list", code=3, says=(f"odd{i}", "fake.act", "lecture.mnist"), env={"PYTHONPATH": path})
        box.call("run", "fake.act/plain", "--seed", "0", "--out", f"out{i}", code=3, says=f"odd{i}",
                 env={"PYTHONPATH": path})  # fmt: skip
        box.check(
            statuses(box.folder / f"out{i}") == ["done"], f"{what}: the run of another paper was stopped"
        )


@attack("broken papers")
def papers_with_broken_claims(box: Box) -> None:
    """Ask for claims where a paper's claims.toml is damaged, empty, missing, names no experiment, or twice an id."""
    folder = box.results()
    paper = box.paper()
    place = paper / "fake_paper/claims.toml"
    whole = place.read_text()
    for text in (
        "[[claim", whole[: len(whole) // 2], whole + whole, whole.replace("fake.act", "no.such"), "x" * 10**6,
        whole.replace("value = 0.5", "value = nan"), "a." * 5000 + "b = 1", '[[claim]]\nid = "x"\n',
    ):  # fmt: skip
        place.write_text(text)
        for verb in (("claims", folder), ("report", folder, "--out", "out")):
            box.call(*verb, code=3, says="claims.toml", env=box.with_paper(paper))
        page = (box.folder / "out/index.html").read_text()
        box.check("Does as it is told" in page, "the records are not in the report")
    place.unlink()
    box.call("claims", folder, code=3, says="claims.toml", env=box.with_paper(paper))


@attack("broken papers")
def papers_whose_run_is_missing(box: Box) -> None:
    """Run an experiment whose function is missing, breaks at import or ends the interpreter, beside a sound one."""
    for i, text in enumerate(
        ("x = 1", "raise ValueError('planted')", "def :", "import os; os._exit(0)", "import os; os.abort()")
    ):
        paper = box.paper(f"paper{i}")
        (paper / "fake_paper/runs.py").write_text(text)
        box.call(
            "run", "fake.act/plain", "--seed", "0", "--out", f"out{i}", code=3, env=box.with_paper(paper)
        )
        box.check(statuses(box.folder / f"out{i}") == ["error"], f"{text}: no record of the error", "silent")
        box.check(len(records(box.folder / f"out{i}")) == 1, f"{text}: no record", "silent")
