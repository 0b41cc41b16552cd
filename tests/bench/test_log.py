"""A log holds the beginning and the end of what was printed, and never more; a full disk stops nobody."""

from __future__ import annotations

import io
import os

import pytest

from bench.execution.executor import Limits, execute
from bench.execution.log import HALF, Log
from bench.execution.plan import plan
from bench.record import read_all


class Kept(io.BytesIO):
    """A file whose content can be read after it was closed."""

    def close(self):
        self.content = self.getvalue()
        super().close()


def printed(*parts, half=10):
    file = Kept()
    log = Log(file, half)
    writer = os.dup(log.writer)
    log.begin()
    for part in parts:
        os.write(writer, part)
    os.close(writer)
    log.end()
    return file.content


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 19, 20])
def test_what_fits_is_kept_whole(size):
    text = bytes(range(65, 65 + size))
    assert printed(text) == text
    assert printed(*(bytes([b]) for b in text)) == text


def test_of_more_the_first_and_the_last_are_kept_and_the_rest_is_counted():
    text = b"0123456789" + b"-" * 33 + b"abcdefghij"
    for parts in ([text], [bytes([b]) for b in text]):
        assert printed(*parts) == b"0123456789\n[33 bytes left out]\nabcdefghij"


def test_a_full_disk_costs_the_log_and_not_the_run():
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(28, "No space left on device")

    log = Log(Full())
    writer = os.dup(log.writer)
    log.begin()
    for _ in range(40):  # more than a pipe holds: someone reads on
        os.write(writer, b"x" * 65536)
    os.close(writer)
    log.end()


def test_a_run_that_prints_without_end_leaves_a_small_log_and_its_error(fake_paper, tmp_path):
    execute(plan(["fake.act/prints"], "smoke", [0]), tmp_path, Limits(), lambda job, event: None)
    (record,) = read_all([tmp_path])
    assert (record.status, record.message) == ("error", "ValueError: last words")
    (log,) = tmp_path.glob("logs/*/*.log")
    content = log.read_text()
    assert len(content) < 2 * HALF + 100
    assert content.startswith("first words")
    assert content.rstrip().endswith("ValueError: last words")
