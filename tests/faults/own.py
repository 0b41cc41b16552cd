"""The user's own files: what the program did not write is never removed, overwritten, or followed through a link."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

from faults.box import Box, attack, bound, records, statuses, wait_for

KIND = "user's files"


def content(folder: Path) -> set[bytes]:
    return {p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.is_symlink()}


@attack(KIND)
def report_into_a_paper(box: Box) -> None:
    """Report into a folder with tables, figures and an index.html of the user's own."""
    for name in ("tables/mine.tex", "tables/fake.act.md", "figures/fig1.pdf", "index.html", "CORRECTIONS.md"):
        box.mine(f"paper/{name}")
    box.call("report", box.results(), "--out", "paper", code=2, says="index.html")


@attack(KIND)
def report_beside_files(box: Box) -> None:
    """Report into a folder whose other files are in nobody's way, twice, then with fewer records."""
    for name in ("tables/mine.tex", "figures/fig1.pdf", "faults.md", "notes.html", "records/x.txt"):
        box.mine(f"paper/{name}")
    folder = box.results(guarded=False)
    for _ in range(2):
        box.call("report", folder, "--out", "paper", code=0)
    box.call("report", folder, "--out", "paper", "--check", code=0)
    shutil.rmtree(folder / "records/fake.act")
    box.call("report", folder, "--out", "paper", code=0)
    box.check(not (box.folder / "paper/tables/fake.act.md").exists(), "a table of no record stays")


@attack(KIND)
def report_over_a_changed_file(box: Box) -> None:
    """Report over a file of the last report that the user has changed since."""
    folder = box.results()
    box.call("report", folder, "--out", "paper", code=0)
    box.mine("paper/tables/fake.act.md", b"with my remarks")
    box.call("report", folder, "--out", "paper", code=2, says="tables/fake.act.md")


@attack(KIND)
def report_through_links(box: Box) -> None:
    """Report where tables, a file of it, or the manifest is a link to a place of the user's."""
    folder = box.results()
    box.mine("home/thesis.md")
    for name, target in (
        ("tables", "../home"),
        ("index.html", "../home/thesis.md"),
        ("manifest.json", "../home/x"),
    ):
        box.link(f"{name.split('.')[0]}/{name}", target)
        box.call("report", folder, "--out", name.split(".")[0], code=2)
    box.check(
        sorted(os.listdir(box.folder / "home")) == ["thesis.md"],
        "something was written through a link",
        "lost",
    )


@attack(KIND)
def report_with_a_strange_manifest(box: Box) -> None:
    """Report where manifest.json is the user's, or lists files that are none of a report, or with other content."""
    folder, own = box.results(), box.mine("thesis.md")
    checksum = hashlib.sha256(own.read_bytes()).hexdigest()
    names = (
        {"../thesis.md": [checksum]},
        {"/etc/passwd": ["0"]},
        {"records/x": ["0"]},
        {"thesis.md": ["0" * 64]},
    )
    for i, text in enumerate(["mine", "[]", '{"files": 3}', *(json.dumps({"files": n}) for n in names)]):
        box.mine(f"{i}/thesis.md")
        box.mine(f"{i}/manifest.json", text.encode())
        box.call("report", folder, "--out", str(i), code=2)


@attack(KIND)
def report_cut_in_the_middle(box: Box) -> None:
    """Kill a report while it writes; the next one finishes it, beside files of the user's."""
    folder = box.results()
    box.mine("paper/tables/mine.tex")
    for _ in range(3):
        process = box.start("report", folder, "--out", "paper")
        wait_for((box.folder / "paper/manifest.json").exists)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        box.call("report", folder, "--out", "paper", code=0)
        shutil.rmtree(box.folder / "paper/figures", ignore_errors=True)
        (box.folder / "paper/manifest.json").unlink()
        for path in (box.folder / "paper").rglob("*"):
            if path.is_file() and path.name != "mine.tex":
                path.unlink()
    left = [p.name for p in (box.folder / "paper").rglob(".*")]
    box.check(not left, f"drafts are left: {left}")


@attack(KIND)
def run_through_links(box: Box) -> None:
    """Run where a folder or file that it writes is a link to a place of the user's."""
    box.mine("home/keep.txt")
    for part in ("records", "records/fake.act", "logs", "logs/fake.act", "records/fake.act/file"):
        out = box.folder / part.replace("/", "_")
        if part.endswith("file"):
            name = next(
                p.name for p in records(box.results("named")) if ".s0." in p.name and "plain" in p.name
            )
            box.link(out / "records/fake.act" / name, box.folder / "home/keep.txt")
        else:
            box.link(out / part, box.folder / "home")
        box.call("run", "fake.act/plain", "--seed", "0", "--out", out, code=(2, 3), says="link")
    box.check(
        sorted(os.listdir(box.folder / "home")) == ["keep.txt"],
        "something was written through a link",
        "lost",
    )


@attack(KIND)
def lock_is_a_link(box: Box) -> None:
    """Run where .lock is a link to a file of the user's, or a folder."""
    box.mine("home/keep.txt")
    box.link("a/.lock", "../home/keep.txt")
    box.mine("b/.lock/keep.txt")
    for out in "ab":
        box.call("run", "fake.act/plain", "--seed", "0", "--out", out, code=2, says=".lock")


@attack(KIND)
def out_is_no_folder(box: Box) -> None:
    """Run and report into a file, a link to nothing and a device."""
    box.mine("file")
    box.link("dangling", "nowhere/at/all")
    folder = box.results()
    for out in ("file", "file/inner", "/dev/null", "dangling"):
        box.call(
            "run", "fake.act/plain", "--seed", "0", "--out", out, code=(0, 2) if out == "dangling" else 2
        )
        box.call("report", folder, "--out", out, code=(0, 2) if out == "dangling" else 2)


@attack(KIND)
def a_folder_in_a_records_place(box: Box) -> None:
    """Run where a folder with files of the user's lies in the place of the record, the model or the log."""
    folder = box.results()
    for part, end in (("records", ".json"), ("models", ".pt"), ("logs", ".log")):
        (name,) = (p.stem for p in (folder / "records/fake.train").glob("*.json"))
        box.mine(f"{part}/{part}/fake.train/{name}{end}/keep.txt")
        box.call(
            "run", "fake.train", "--tier", "smoke", "--seed", "0", "--out", box.folder / part, code=(0, 2, 3)
        )


@attack(KIND)
def doctor_moves_and_never_deletes(box: Box) -> None:
    """Have doctor --fix put in order a folder full of files of the user's, twice, with the same names."""
    folder = box.results()
    for round_ in range(2):
        for name in (
            "records/notes.txt",
            "records/fake.act/notes.txt",
            "records/fake.act/x.json",
            "models/y/z.pt",
        ):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f"{name} {round_}")
        before = content(folder)
        box.call("doctor", folder, code=3, says="notes.txt")
        box.call("doctor", folder, "--fix", code=0, says="moved")
        box.check(before <= content(folder), "a file is gone", "lost")
    box.call("doctor", folder, code=0, says="nothing is wrong")


@attack(KIND)
def doctor_moves_through_links(box: Box) -> None:
    """Have doctor move links and files where quarantine itself is a link, or another file system."""
    folder = box.results()
    box.mine("home/keep.txt")
    box.link("results/records/fake.act/link.json", "../../../home/keep.txt")
    box.link("results/quarantine/records", "../../home")
    box.call("doctor", folder, "--fix", code=2, says="link")
    box.call("doctor", folder, "--move-to", "/dev/shm/cnf-faults", code=(0, 2))
    shutil.rmtree("/dev/shm/cnf-faults", ignore_errors=True)


@attack(KIND)
def stray_files_beside_runs(box: Box) -> None:
    """Run and repeat a run in a folder with the user's notes, copies and hidden files everywhere."""
    folder = box.results()
    name = next(p.stem for p in records(folder) if "fake.train" in str(p))
    for path in (
        "notes.txt", "records/README", "records/fake.act/.hidden", "records/fake.act/copy of it.txt",
        f"records/fake.train/{name}.json.bak", f"logs/fake.train/{name}.log.old", "checkpoints/fake.train/mine.pt",
        f"checkpoints/fake.train/{name}.train.pt.bak", f"models/fake.train/{name}.best.pt", "records/fake.act/.n.part",
    ):  # fmt: skip
        box.mine(folder / path)
    box.call("run", "fake.train", "--tier", "smoke", "--seed", "0", "--force", "--out", folder, code=0)


@attack(KIND)
def a_copy_of_a_state(box: Box) -> None:
    """Repeat a run beside a file of the user's that is called as one of its states."""
    folder = box.results()
    name = next(p.stem for p in records(folder) if "fake.train" in str(p))
    box.mine(folder / f"checkpoints/fake.train/{name}.my notes.pt", b"torch.save of mine")
    box.call("run", "fake.train", "--tier", "smoke", "--seed", "0", "--force", "--out", folder, code=0)


@attack(KIND)
def forced_failures(box: Box) -> None:
    """Repeat with --force runs that now end at their time limit, or for want of memory: the good record stays."""
    folder = box.results()
    before = {p: p.read_bytes() for p in records(folder)}
    run = ("run", "fake.train", "--tier", "smoke", "--seed", "0", "--force", "--out", folder)
    box.call(*run, "--timeout", "0.1", "--set", "pause=0.0", code=(0, 3))
    box.call(*run, "--memory", "0.01", code=(0, 3))
    for path, was in before.items():
        box.check(path.exists() and (path.read_bytes() == was or statuses(folder).count("done") == len(before)),
                  f"{path.name} was replaced by a failure", "lost")  # fmt: skip


@attack(KIND)
def a_forced_run_that_now_breaks(box: Box) -> None:
    """Repeat with --force a run whose code now raises: the good record stays, the other is kept beside it."""
    folder = box.results()
    before = {p: p.read_bytes() for p in records(folder)}
    paper = box.paper()
    source = paper / "fake_paper/runs.py"
    source.write_text(
        source.read_text().replace(
            "    value = run.numpy", '    raise ValueError("new fault")\n    v = run.numpy'
        )
    )
    box.call("run", "fake.act/plain", "--seed", "0", "--force", "--out", folder, code=3, says="new fault",
             env=box.with_paper(paper))  # fmt: skip
    box.check(all(p.read_bytes() == was for p, was in before.items()), "a good record was replaced", "lost")
    box.check(list(folder.rglob("*.loser")), "the failed run left no record", "silent")


@attack(KIND)
def old_records_behind_links(box: Box) -> None:
    """Migrate a folder in which records are links to the user's, or cannot be written."""
    folder = box.results()
    text = records(folder)[0].read_text().replace('"schema": 2', '"schema": 1').encode()
    box.mine("home/old.json", text)
    box.link(folder / "records/fake.act/old.json", "../../../home/old.json")
    box.call("migrate", folder, code=(0, 2, 3))


@attack(KIND)
def a_draft_that_is_the_users(box: Box) -> None:
    """Run in a folder with files of the user's whose names are almost those of drafts."""
    folder = box.results()
    for name in (".notes.part", ".notes.0123456789abcde.part", "notes.0123456789abcdef.part", ".x.part-1"):
        box.mine(folder / "records/fake.act" / name)
        box.mine(f"cache/{name}")
    box.call("run", "fake.act/plain", "--seed", "7", "--out", folder, code=0)


@attack(KIND)
def a_folder_that_is_read_only(box: Box) -> None:
    """Run, report, migrate and doctor --fix in folders that can not be written."""
    folder = box.results()
    (folder / "records/fake.act/stray").write_text("x")
    places = [folder, *(p for p in folder.rglob("*") if p.is_dir())]
    for place in places:
        place.chmod(0o555)
    wall = bound()
    box.call(
        "run", "fake.act/plain", "--seed", "9", "--out", folder, code=2, says="cannot write", before=wall
    )
    box.call("report", folder, "--out", folder, code=2, says="cannot write", before=wall)
    box.call("doctor", folder, "--fix", code=2, says="cannot write", before=wall)
    box.call("report", folder, "--out", "paper", code=0, before=wall)
    for place in places:
        place.chmod(0o755)


@attack(KIND)
def a_part_that_is_read_only(box: Box) -> None:
    """Run where only the records can not be written: nothing is lost and it is said before the time is spent."""
    folder = box.results()
    (folder / "records/fake.act").chmod(0o555)
    start = time.monotonic()
    box.call(
        "run", "fake.act/plain", "--seed", "9", "--out", folder, code=2, says="cannot write", before=bound()
    )
    box.check(time.monotonic() - start < 60, "it took long to say so", "stuck")
    (folder / "records/fake.act").chmod(0o755)
