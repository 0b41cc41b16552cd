"""Disks that are full, and folders that vanish."""

from __future__ import annotations

import resource
import shutil

from bench.record import read
from faults.box import Box, attack, records, small_disk, statuses, wait_for
from faults.processes import limited, paper

KIND = "disk"
RUN = ("run", "fake.act/plain", "--seed", "0", "--out", "out")


@attack(KIND)
def a_disk_that_is_full_from_the_start(box: Box) -> None:
    """Run and report into a disk of one page, and with files limited to no bytes at all."""
    folder = box.results()
    box.call(*RUN, code=2, says="cannot write", before=small_disk(box.folder / "out", "4k"))
    box.call(
        "report",
        folder,
        "--out",
        "paper",
        code=2,
        says="cannot write",
        before=small_disk(box.folder / "paper", "64k"),
    )
    for most in (0, 100):
        box.call(
            *RUN[:-1],
            f"out{most}",
            code=2,
            says="cannot write",
            preexec_fn=limited((resource.RLIMIT_FSIZE, most)),
        )


@attack(KIND)
def a_log_that_fills_the_disk(box: Box) -> None:
    """Run what prints more than a small disk has room for: a record all the same, or no run where it has no room."""
    body = "for i in range(300): os.write(2, b'%06d' % i * 8192)"
    for size in ("300k", "400k", "500k", "600k"):
        out = box.folder / f"out{size}"
        box.call(*RUN[:-1], out, code=0, before=small_disk(out, size), env=paper(box, body))
        box.check(statuses(out) == ["done"], f"a disk of {size}: {statuses(out)}", "lost")
    box.call(
        *RUN, code=2, says="cannot write", before=small_disk(box.folder / "out", "100k"), env=paper(box, body)
    )


@attack(KIND)
def a_run_that_fills_the_disk(box: Box) -> None:
    """Run what writes files of its own until the disk is full: its record, or one clear line."""
    body = "with (run.folder / 'mine.bin').open('wb') as f: f.write(bytes(10**7))"
    out = box.folder / "out"
    ended = box.call(*RUN, code=(0, 2, 3), before=small_disk(out, "1m"), env=paper(box, body))
    box.check(statuses(out) or "cannot write" in ended.err, "neither a record nor a word", "silent")


@attack(KIND)
def a_disk_without_room_for_arrays(box: Box) -> None:
    """Run what has more arrays or a larger model than the disk has room for."""
    for body in ("import numpy as np\nrun.artifact('a', np.random.default_rng(0).random(10**6))",
                 "import torch\nrun.save_model('torch.nn:Linear', {}, {'w': torch.rand(10**6)})"):  # fmt: skip
        out = box.folder / f"out{box.tally.tried}"
        box.call(
            *RUN[:-1], out, code=2, says="cannot write", before=small_disk(out, "1m"), env=paper(box, body)
        )
        box.check(not list(out.rglob(".*.part")), "a draft is left on a full disk")


@attack(KIND)
def a_report_on_a_full_disk(box: Box) -> None:
    """Report into a disk that becomes full, then into one with room: it is whole, and the old one stayed until then."""
    folder = box.results()
    box.call("report", folder, "--out", "paper", code=0)
    page = (box.folder / "paper/index.html").read_bytes()
    shutil.rmtree(folder / "records/fake.act")
    box.call(
        "report",
        folder,
        "--out",
        "paper",
        code=2,
        says="cannot write",
        preexec_fn=limited((resource.RLIMIT_FSIZE, 3000)),
    )
    box.check((box.folder / "paper/index.html").read_bytes() == page, "a page was cut", "lost")
    box.call("report", folder, "--out", "paper", code=0)
    box._settled.clear()


@attack(KIND)
def the_out_folder_vanishes(box: Box) -> None:
    """Remove, rename or replace the output folder while a run goes on: a record, or one line says why not."""
    body = "(run.folder / 'ready').touch()\ntime.sleep(2)"
    for how in ("remove", "rename", "file"):
        out = box.folder / how
        process = box.start(*RUN[:-1], out, env=paper(box, body))
        wait_for((out / "ready").exists)
        if how == "rename":
            out.rename(out.with_suffix(".moved"))
        else:
            shutil.rmtree(out)
        if how == "file":
            box.mine(how)
        ended = box.finish(process)
        box.judge(ended, (0, 2, 3), (), how)
        box.check(
            "cannot write" in ended.err or statuses(out) == ["done"], f"{how}: {ended.err[-200:]}", "silent"
        )


@attack(KIND)
def the_present_folder_vanishes(box: Box) -> None:
    """List, run and report from a folder that has been removed."""
    folder = box.results()
    for verb in (("list",), ("claims", folder), ("run", "fake.act/plain", "--seed", "0", "--out", box.folder / "out"),
                 ("run", "fake.act/plain", "--seed", "0"), ("report", folder, "--out", "paper"), ("claims",),
                 ("show", "x")):  # fmt: skip
        here = box.folder / "here"
        here.mkdir()
        box.call(*verb, code=(0, 2, 3), before=["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh"], cwd=here)


@attack(KIND)
def the_record_vanishes(box: Box) -> None:
    """Remove records and logs while a call runs others: they are made again by the next call."""
    body = "(run.folder / 'ready').touch()\ntime.sleep(1)"
    process = box.start("run", "fake.act/plain", "--seeds", "2", "--out", "out", env=paper(box, body))
    wait_for((box.folder / "out/ready").exists)
    shutil.rmtree(box.folder / "out/logs")
    wait_for(lambda: records(box.folder / "out"))
    shutil.rmtree(box.folder / "out/records")
    box.judge(box.finish(process), (0, 3), (), "removed records")
    box.call("run", "fake.act/plain", "--seeds", "2", "--out", "out", code=0)
    box.check(statuses(box.folder / "out") == ["done"] * 2, "records are missing", "lost")


@attack(KIND)
def no_place_for_temporary_files(box: Box) -> None:
    """Run, report and check where TMPDIR is missing, read-only or a file."""
    folder = box.results()
    box.mine("file")
    for place in ("/nowhere", "/proc", str(box.folder / "file")):
        env = {"TMPDIR": place, "TEMP": place, "TMP": place}
        box.call("run", "fake.act/plain", "--seed", "0", "--out", "out", code=0, env=env)
        box.call("report", folder, "--out", "paper", code=0, env=env)
        box.call("report", folder, "--out", "paper", "--check", code=(0, 2), env=env)


@attack(KIND)
def drafts_of_killed_runs(box: Box) -> None:
    """Leave the drafts of killed runs and downloads in a folder: the next call removes them, and nothing else."""
    folder = box.results()
    drafts = [
        folder / part / "fake.act" / f".x.{'0' * 16}.part"
        for part in ("records", "artifacts", "models", "checkpoints", "logs")
    ]
    for path in (
        *drafts,
        folder / f".manifest.json.{'0' * 16}.part",
        folder / f"tables/.claims.md.{'0' * 16}.part",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a part")
    box.mine(folder / "records/fake.act/.notes.part")
    box.call("run", "fake.act/plain", "--seed", "0", "--out", folder, code=0)
    box.check(not [p for p in drafts if p.exists()], "drafts of runs stay")
    box.call("report", folder, "--out", folder, code=0)
    left = [str(p) for p in folder.rglob(f"*{'0' * 16}.part")]
    box.check(not left, f"drafts of reports stay: {left}")


@attack(KIND)
def a_disk_that_is_full_while_recording(box: Box) -> None:
    """Limit files to sizes at which the record itself, or the state of a training, no longer fits."""
    for most in (500, 2000, 4000):
        box.call("run", "fake.train", "--tier", "cpu", "--seed", "0", "--out", f"out{most}", code=(0, 2, 3),
                 preexec_fn=limited((resource.RLIMIT_FSIZE, most)))  # fmt: skip
        for path in records(box.folder / f"out{most}"):
            read(path)
