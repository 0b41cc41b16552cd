"""What a person types: options, settings, names of folders, the environment."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from faults.box import Box, attack, records, statuses
from faults.wrong import a_run

KIND = "input"
RUN = ("run", "fake.act/plain", "--seed", "0", "--out", "out")


@attack(KIND)
def options_of_run_that_are_none(box: Box) -> None:
    """Run with seeds, jobs, limits, threads, tiers and devices that are none."""
    for more in (
        ("--seeds", "0"), ("--seeds", "-1"), ("--seeds", "x"), ("--seed", "-1"), ("--seed", "1e3"), ("--jobs", "0"),
        ("--timeout", "nan"), ("--timeout", "-1"), ("--timeout", "0"), ("--memory", "nan"), ("--memory", "0"),
        ("--memory", "x"), ("--threads", "0"), ("--threads", "x"), ("--tier", "huge"), ("--tier", ""),
        ("--device", "tpu"),
        ("--device", "cuda:x"), ("--device", "cuda:-1"), ("--device", ""), ("--device", "cuda:99999999999999999999"),
        ("--seed", "9" * 30), ("--seeds", "9" * 30), ("--device", "cpu:0"), ("--memory", "inf"), ("--no-such",),
        ("--seeds", "10000000"),
    ):  # fmt: skip
        box.call("run", "fake.act/plain", "--out", "out", *more, code=2, limit=60)
    box.check(not (box.folder / "out/records").exists(), "something was run all the same")


@attack(KIND)
def options_that_are_large(box: Box) -> None:
    """Run with more jobs, threads, seconds and memory than there are."""
    for more in (
        ("--jobs", "1000000"),
        ("--threads", "100000"),
        ("--timeout", "1e300"),
        ("--timeout", "inf"),
        ("--memory", "1000000"),
    ):
        box.call(*RUN, "--force", *more, code=(0, 2))


@attack(KIND)
def patterns_that_match_nothing(box: Box) -> None:
    """Ask for experiments by patterns that are broken, empty, very long, paths or in other scripts."""
    for pattern in (
        "", "/", "[", "[!", "fake.act/[", "../../etc", "fake.act/plain/x", "*" * 3000 + "x", "x" * 10**5, "ünï",
        "\x1b[31m", "fake.act/plain\n", "a*a*a*a*a*a*a*a*a*a*a*a*b", "fake.act/",
    ):  # fmt: skip
        box.call("run", "--out", "out", "--", pattern, code=2, says="no experiment matches", limit=60)


@attack(KIND)
def settings_that_are_none(box: Box) -> None:
    """Set unknown keys, wrong types, numbers that are not finite or too large, nested and long values."""
    for setting in (
        "x=1", "factor", "=1", "factor=", "factor=x", "factor=nan", "factor=inf", "factor=-inf", "factor=1e999",
        "factor=true", "factor=[1]", "factor={a=1}", f"factor={'9' * 5000}", "factor.x=1", "behaviour=3",
        f"behaviour={'x' * 10**5}", "behaviour=\x1b[2J", f"factor={'[' * 5000}", "a.b.c.d=1", f"{'a.' * 5000}b=1",
        "factor=1\nx=2", "factor=2020-01-01", "\u202efactor=1",
    ):  # fmt: skip
        box.call(*RUN, "--set", setting, code=2)
    box.call(*RUN, "--set", "factor=1", "--set", "factor=2", code=2, says="twice")
    box.call("run", "fake.*", "--out", "out", "--set", "factor=3", code=2, says="one experiment at a time")
    box.check(not statuses(box.folder / "out"), "something was run all the same")


CONFIGS = (
    b"", b"x = 1", b"[[", b"\xff\xfe", b'["no.such"]\nx = 1', b'["fake.act"]\nno = 1', b'["fake.act"]\nfactor = "x"',
    b'["fake.act"]\nfactor = nan', b"a = " + b"[" * 10**5, b"a." * 10**5 + b"b = 1", b"x = " + b"9" * 10**5,
    b" " * 2**21,
    b'"fake.act" = 3', b'["fake.act"]\nfactor = 1\nfactor = 2', b"\0", b"# \x1b[2J\n[\x1b[31m]",
)  # fmt: skip


@attack(KIND)
def configs_that_are_none(box: Box) -> None:
    """Give as --config what is missing, a folder, a pipe, a device, binary, too large, too deep or names nothing."""
    for i, content in enumerate(CONFIGS):
        place = box.mine(f"{i}.toml", content)
        box.call(*RUN, "--force", "--config", place, code=(0, 2) if not content else 2)
    os.mkfifo(box.folder / "pipe")
    for place in ("missing.toml", ".", "/dev/zero", "/dev/null/x", "pipe", "", "x" * 300):
        box.call(*RUN, "--config", place, code=2, limit=30)


NAMES = (
    "ünï ☃ 文", "with space", "quote'\"s", "-dash", "a\nb", "tab\t", "#%&{}$!`", "\u202eevil", ".hidden", "trailing ",
    "e\u0301", "x" * 200, "*", "[a]", "~", "%s%d", "\x1b[31mred", "\x7f",
)  # fmt: skip


@attack(KIND)
def folders_of_odd_names(box: Box) -> None:
    """Run, report, list and show in folders of odd names: other scripts, quotes, newlines, dashes, globs, controls."""
    folder = box.results()
    place = folder
    for name in NAMES:
        place = place.rename(box.folder / name)
        box.call("claims", f"./{name}", code=0)
        box.call("doctor", f"./{name}", code=0)
        box.call("show", f"./{name}/records/fake.act/{a_run(place).name}", code=0)
    for name in NAMES[::4]:
        place = place.rename(box.folder / name)
        box.call("report", f"./{name}", "--out", f"./{name}/report", code=0)
        box.call(
            "run", "fake.act/plain", "--seeds", "3", "--out", f"./{name}", code=0, says="3 already recorded"
        )
        shutil.rmtree(place / "report")
    box.call("run", "fake.act/plain", "--seeds", "4", "--out", f"./{name}", code=0, says="3 already recorded")
    place.rename(folder)


@attack(KIND)
def folders_of_names_that_are_no_text(box: Box) -> None:
    """Run, claim and doctor in folders and with files whose names are no UTF-8."""
    folder = os.fsencode(box.results())
    odd = os.fsencode(box.folder) + b"/caf\xe9"
    os.rename(folder, odd)
    name = os.fsdecode(odd)
    box.call("claims", name, code=0)
    box.call("report", name, "--out", "paper", code=0)
    box.call("run", "fake.act/plain", "--seeds", "4", "--out", name, code=(0, 2))
    Path(os.fsdecode(odd + b"/records/fake.act/\xff\xfe.json")).write_text("{}")
    box.call("claims", name, code=3)
    box.call("doctor", name, code=3)
    os.rename(odd, folder)


@attack(KIND)
def paths_that_are_long(box: Box) -> None:
    """Run and read in paths of 300 characters a name, of 5000 in all, and of 1000 levels."""
    for out in ("x" * 300, "/".join(["x" * 200] * 30), "/".join(["y"] * 2000)):
        box.call("run", "fake.act/plain", "--seed", "0", "--out", out, code=(0, 2))
        box.call("claims", out, code=(0, 2))
        box.call("show", out, code=2)
        box.call("report", out, "--out", "paper", code=(0, 2))


@attack(KIND)
def folders_that_are_missing(box: Box) -> None:
    """Ask every verb for folders and runs that are not there, empty, or files."""
    box.mine("file")
    (box.folder / "empty").mkdir()
    for place in ("missing", "file", "file/x"):
        for verb in ("claims", "status", "report", "doctor", "migrate", "show"):
            box.call(verb, place, code=2)
    for verb in ("claims", "status", "doctor", "migrate"):
        box.call(verb, "empty", code=0)
    for run in ("empty/abc", "results/*", "?", "[", "0", "/", ".", "x" * 5000):
        box.call("show", run, code=2)
    for verb in ("claims", "status", "report"):
        box.call(verb, code=2, says="no records")


@attack(KIND)
def environments_that_are_odd(box: Box) -> None:
    """Run and list with odd locales, terminals, widths, numbers of threads and encodings."""
    folder = box.results()
    for env in (
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "ascii"},
        {"TZ": "Mars/Olympus"}, {"HOME": "/nowhere"}, {"PYTHONWARNINGS": "error"}, {"PATH": "/nowhere"},
        {"PYTHONOPTIMIZE": "2"}, {"LANG": "xx_YY.no"}, {"COLUMNS": "1"}, {"COLUMNS": "x"}, {"COLUMNS": "-5"},
        {"TERM": "nonsense"}, {"NO_COLOR": "1"}, {"FORCE_COLOR": ""}, {"PYTHONHASHSEED": "0"}, {"USER": "\u202e"},
    ):  # fmt: skip
        box.call("claims", folder, code=0, env=env)
        box.call("show", a_run(folder), code=0, env=env)
        if not {"COLUMNS", "TERM", "NO_COLOR", "FORCE_COLOR", "USER", "PYTHONHASHSEED"} & set(env):
            box.call(*RUN, "--force", code=0, env=env)
    for env in (
        {"OMP_NUM_THREADS": "x"},
        {"OMP_NUM_THREADS": "0"},
        {"OMP_NUM_THREADS": "-3"},
        {"OMP_WAIT_POLICY": "x"},
    ):
        box.call(*RUN, "--force", code=2, env=env, says=next(iter(env)))


@attack(KIND)
def the_module_and_the_command(box: Box) -> None:
    """Run through `python -m bench`, in a folder that can not be written, with an isolated and an optimised Python."""
    place = box.folder / "here"
    place.mkdir()
    place.chmod(0o555)
    box.call("list", code=0, cwd=place)
    box.call("run", "fake.act/plain", "--seed", "0", "--out", box.folder / "out", code=0, cwd=place)
    code = "import sys; del sys.argv[1:5]; from bench.cli.main import main; main()"
    for flags in (["-O"], ["-OO"], ["-X", "dev"], ["-B"]):
        box.call("claims", box.folder / "out", code=0, before=[sys.executable, *flags, "-c", code])
    box.check(len(records(box.folder / "out")) == 1, "no record", "lost")
    place.chmod(0o755)
