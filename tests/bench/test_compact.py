"""What of a series a record keeps, and how it is written."""

import json
import math

import pytest

from bench.execution.compact import POINTS, compact
from bench.execution.run import Run
from bench.execution.worker import keep, perform
from bench.identity import identify
from bench.record import Curve, Record, read
from bench.registry import registry


def test_a_long_series_keeps_its_ends_and_evenly_spaced_points():
    n = 10 * POINTS
    kept = compact(Curve(tuple(map(float, range(n))), tuple(float(i * i) for i in range(n)), "x", "y"))
    assert len(kept.x) == len(kept.y) == POINTS
    assert (kept.x[0], kept.x[-1]) == (0, n - 1)
    assert {b - a for a, b in zip(kept.x, kept.x[1:], strict=False)} <= {10, 11}
    assert all(y == x * x for x, y in zip(kept.x, kept.y, strict=True))
    assert (kept.x_label, kept.y_label) == ("x", "y")


def test_a_short_series_keeps_every_point_and_six_digits():
    values = (math.pi * 1e-9, -2 / 3, 1e-300, 0.0, 123456789.0, 1234567.5, math.inf)
    kept = compact(Curve(tuple(range(len(values))), values))
    assert kept.x == tuple(range(len(values)))
    assert kept.y == (3.14159e-9, -0.666667, 1e-300, 0.0, 123456789.0, 1234570.0, math.inf)
    assert math.isnan(compact(Curve((0.0,), (math.nan,))).y[0])
    assert len(compact(Curve(tuple(range(POINTS)), tuple(range(POINTS)))).x) == POINTS


def test_a_run_keeps_its_curves_so_and_its_metrics_whole(fake_paper, tmp_path):
    experiment = registry()["fake.act"]
    run = Run(identify(experiment, "plain", "smoke", 0), tmp_path)
    written = read(keep(run, perform(run, experiment, {})))
    value = written.value("max_error")
    assert value == run.metrics["max_error"].value
    assert written.curves["error"].y[0] == float(f"{value:.5e}") != value


def test_lists_of_numbers_stand_on_one_line_and_no_text_is_touched(fake_paper, tmp_path):
    message = 'a [ 1,  2 ]\n"[\n 3 ]"'
    record = Record(identify(registry()["fake.act"], "plain", "smoke", 0), "error", message)
    record.curves = {"c": Curve((1.0, 2.5), (math.nan, 4.0)), "empty": Curve((), ())}
    record.environment = {"affinity": [0, 1], "nested": [[1, 2], {"a": [3]}, ["t", 4]]}
    text = record.to_json()
    assert '"x": [1.0, 2.5]' in text
    assert '"y": [null, 4.0]' in text
    tree = json.loads(text)
    assert tree["message"] == message
    assert tree["environment"] == record.environment
    keep(Run(record.identity, tmp_path), record)
    (path,) = tmp_path.glob("records/*/*.json")
    assert read(path).message == message  # the checksum holds


@pytest.mark.parametrize("key", ["x", "y"])
def test_committed_records_with_longer_lists_are_read_as_before(fake_paper, tmp_path, key):
    record = Record(identify(registry()["fake.act"], "plain", "smoke", 0), "done")
    record.curves = {"c": Curve(tuple(map(float, range(999))), tuple(i / 7 for i in range(999)))}
    keep(Run(record.identity, tmp_path), record)
    (path,) = tmp_path.glob("records/*/*.json")
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    assert getattr(read(path).curves["c"], key) == getattr(record.curves["c"], key)
