"""Downloads, archives and the folders of data."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest.mock import patch

import pooch

from bench.data import registry
from bench.data.registry import DataFile, DataSet
from faults.box import Box, attack, bound, processes, wait_for

KIND = "data"
GOOD = b"alpha" * 1000
pooch.get_logger().disabled = True
SHA = f"sha256:{hashlib.sha256(GOOD).hexdigest()}"

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    """Serve every request by a function; yield the address of a folder."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            try:
                answer(self)
            except OSError:  # the other side has had enough
                return

        def log_message(self, *arguments: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["no_proxy"] = "127.0.0.1"
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def sending(content: bytes, status: int = 200, length: int | None = None, **headers: str) -> Answer:
    """Return what answers with a content, perhaps announcing another length."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content) if length is None else length))
        for key, value in headers.items():
            request.send_header(key, value)
        request.end_headers()
        request.wfile.write(content)

    return answer


def endless(pause: float, block: bytes) -> Answer:
    """Return what answers without end."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(10**6):
            request.wfile.write(block)
            request.wfile.flush()
            time.sleep(pause)

    return answer


def a_set(mirror: str, bytes_: int | None = len(GOOD)) -> DataSet:
    return DataSet("toy", "t", "none", (mirror,), (DataFile("toy/a", SHA, bytes_),))


def clean(box: Box) -> None:
    """Count what a failed download left in the cache."""
    left = [str(p) for p in (box.folder / "cache").rglob("*") if p.is_file()]
    box.check(not left, f"left in the cache: {left}")


@attack(KIND)
def downloads_of_other_content(box: Box) -> None:
    """Download what has another checksum: changed, cut, too long, an error, nothing, a redirect away."""
    box.mine("secret", GOOD)
    for answer in (
        sending(GOOD[:-1] + b"x"), sending(GOOD, length=len(GOOD) + 5), sending(GOOD[:100]), sending(GOOD + b"x"),
        sending(b"no", 404), sending(b"no", 500), sending(b""), sending(GOOD, length=10),
        sending(b"", 302, Location=f"file://{box.folder / 'secret'}"), sending(b"", 302, Location="/"),
        sending(b"", 301, Location="http://127.0.0.1:9/"), sending(gzip.compress(GOOD), **{"Content-Encoding": "x"}),
        sending(GOOD, 206), lambda request: request.wfile.write(b"\x16\x03\x01 no http"), lambda request: None,
    ):  # fmt: skip
        with served(answer) as mirror:
            if answer is not None:
                try:
                    a_set(mirror).fetch()
                    (box.folder / "cache/toy/a").unlink()  # it had the right checksum
                    box.tally.tried += 1
                except registry.UserError:
                    box.refused(a_set(mirror).fetch, "could not be downloaded")
        clean(box)


@attack(KIND)
def downloads_without_end(box: Box) -> None:
    """Download what is larger than announced or allowed, and what comes a byte at a time: both have a limit."""
    with served(endless(0, bytes(2**20))) as mirror:
        box.refused(a_set(mirror).fetch, "more than")
        with patch.object(registry, "LARGEST", 2**24):
            box.refused(a_set(mirror, None).fetch, "more than")
    clean(box)
    with served(endless(0.1, b"x")) as mirror, patch.object(registry, "SECONDS", 2.0, create=True):
        start = time.monotonic()
        box.refused(a_set(mirror).fetch, "took more than")
        box.check(time.monotonic() - start < 30, "the limit of time does not hold", "stuck")
    clean(box)


@attack(KIND)
def a_download_that_is_killed(box: Box) -> None:
    """SIGKILL a download: what it left is removed by the next one, and nothing of the user's."""
    box.mine("cache/.part-notes")
    box.mine("cache/.part-mine/notes.txt")

    def parts() -> list[str]:
        return [
            p.name
            for p in (box.folder / "cache").glob(".part-*")
            if p.name not in (".part-notes", ".part-mine")
        ]

    with served(endless(0.05, b"x" * 100)) as mirror:
        pid = os.fork()
        if pid == 0:
            try:
                a_set(mirror, None).fetch()
            finally:
                os._exit(0)
        box.check(wait_for(parts, 20), "no part was seen")
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    with served(sending(GOOD)) as mirror:
        box.tally.tried += 1
        a_set(mirror).fetch()
    box.check(not parts(), f"parts are left: {parts()}")


@attack(KIND)
def two_downloads_at_once(box: Box) -> None:
    """Download one file in four processes at once: all get it, none takes away another's part."""

    def slowly(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        for i in range(0, len(GOOD), 500):
            request.wfile.write(GOOD[i : i + 500])
            request.wfile.flush()
            time.sleep(0.1)

    with served(slowly) as mirror:
        pids = []
        for _ in range(4):
            box.tally.tried += 1
            pid = os.fork()
            if pid == 0:
                try:
                    a_set(mirror).fetch()
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            pids.append(pid)
            time.sleep(0.1)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    box.check(codes == [0] * 4, f"exit codes {codes}")


@attack(KIND)
def files_of_the_user_in_the_cache(box: Box) -> None:
    """Download over a file of the user's, a link to one and a folder: none is overwritten, none is followed."""
    for name, make in (("a", lambda: box.mine("cache/toy/a")), ("b", lambda: box.link("cache/toy/b", "/dev/null")),
                       ("c", lambda: box.mine("cache/toy/c/inner"))):  # fmt: skip
        make()
        with served(sending(GOOD)) as mirror:
            one = DataSet("toy", "t", "none", (mirror,), (DataFile(f"toy/{name}", SHA),))
            box.refused(one.fetch, name)


@attack(KIND)
def a_cache_that_can_not_be_written(box: Box) -> None:
    """Fetch where the cache is read-only, a file, or a link to nothing."""
    (box.folder / "ro").mkdir()
    (box.folder / "ro").chmod(0o555)
    box.mine("file")
    box.link("dangling", "/nowhere/at/all")
    for place in ("ro", "file", "dangling", "/proc/x"):
        box.call("data", "fetch", "mnist", code=2, says="mnist", before=bound(),
                 env={"CNF_BENCH_CACHE": str(box.folder / place)})  # fmt: skip
    (box.folder / "ro").chmod(0o755)


@attack(KIND)
def folders_of_data_that_are_none(box: Box) -> None:
    """Name as CNF_BENCH_DATA what is missing, a file, or a folder with pipes, folders, links in the files' places."""
    box.mine("file")
    for place in ("file", "missing"):
        for verb in ("list", "check"):
            box.call(
                "data", verb, code=2, says="CNF_BENCH_DATA", env={"CNF_BENCH_DATA": str(box.folder / place)}
            )
    here = box.folder / "data/mnist"
    here.mkdir(parents=True)
    os.mkfifo(here / "train-images-idx3-ubyte.gz")
    (here / "train-labels-idx1-ubyte.gz").mkdir()
    box.link(here / "t10k-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz")
    box.link(here / "t10k-labels-idx1-ubyte.gz", "/dev/zero")
    for verb in (("list",), ("check", "mnist")):
        box.call("data", *verb, code=0, limit=30, env={"CNF_BENCH_DATA": str(box.folder / "data")})


@attack(KIND)
def a_file_changed_behind_its_time(box: Box) -> None:
    """Change a data file and set its clock back: it is noticed."""
    place = box.folder / "data/mnist/t10k-labels-idx1-ubyte.gz"
    place.parent.mkdir(parents=True)
    place.write_bytes(bytes(4542))
    os.utime(place, (0, 0))
    env = {"CNF_BENCH_DATA": str(box.folder / "data")}
    box.call("data", "check", "mnist", code=2, says="wrong checksum", env=env)
    place.write_bytes(b"x" * 4542)
    os.utime(place, (0, 0))
    box.call("data", "check", "mnist", code=2, says="wrong checksum", env=env)
    place.chmod(0)
    box.call("data", "check", "mnist", code=2, says="can not be read", env=env, before=bound())
    place.chmod(0o644)


def boxed(members: dict[str, bytes], kinds: dict[str, bytes] | None = None) -> bytes:
    """Return an archive with members, some of another kind."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, kind in (kinds or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.devmajor, info.devminor = kind, "/etc/passwd", 1, 3
            archive.addfile(info)
    return stream.getvalue()


@attack(KIND)
def archives_that_lead_elsewhere(box: Box) -> None:
    """Extract archives with names that lead out, links, devices, pipes, no such member, a bomb, rubbish."""
    toy = DataSet("toy", "t", "none", files=(DataFile("toy/a", SHA),), archive="box")
    it = DataSet("box", "b", "none", files=(DataFile("box/it"),))
    box.mine("toy/a", b"outside")
    bomb = gzip.compress(bytes(2**28))
    for content in (
        boxed({"../../toy/a": b"evil"}), boxed({"/toy/a": b"evil"}), boxed({}, {"toy/a": tarfile.SYMTYPE}),
        boxed({}, {"toy/a": tarfile.LNKTYPE}), boxed({}, {"toy/a": tarfile.CHRTYPE}),
        boxed({}, {"toy/a": tarfile.FIFOTYPE}), boxed({"x": GOOD}), boxed({"toy/a": GOOD})[:-40],
        bomb, b"", b"rubbish" * 999, gzip.compress(b"x" * 10**6),
    ):  # fmt: skip
        place = box.folder / "cache/box/it"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        with patch.object(registry, "_registry", lambda: {"toy": toy, "box": it}):
            box.refused(toy.fetch)
        left = [str(p) for p in (box.folder / "cache").rglob("*") if p.is_file() and p != place]
        box.check(not left, f"left in the cache: {left}")
    box.check(not processes(box.folder), "something lives on", "orphans")


@attack(KIND)
def names_of_no_data_set(box: Box) -> None:
    """Fetch and check sets of odd names."""
    for name in ("../../etc", "", "x" * 5000, "mnist\x1b[31m", "MNIST", "ünï", "-x", "--"):
        for verb in ("fetch", "check"):
            box.call("data", verb, "--", name, code=2)
