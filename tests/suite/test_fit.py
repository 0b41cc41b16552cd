"""`cnf-bench fit`, `sample`, `score`: a user's own table, its units, and what is wrong with it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from bench.cli.main import app
from bench.errors import UserError
from replications.suite import fitting, table
from replications.suite.fitted_files import csv
from replications.suite.fitted_page import page

RNG = np.random.default_rng(0)
ROWS = pd.DataFrame(
    {"temp": 20 + 5 * RNG.normal(size=300), "mass <kg>": 1e3 * (1 + 0.2 * RNG.normal(size=300))}
)


def called(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done.exit_code, done.output


@pytest.fixture
def place(tmp_path: Path) -> Path:
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path


@pytest.fixture(scope="module")
def outcome() -> fitting.Outcome:
    rows = table.Table(tuple(ROWS.columns), ROWS.to_numpy())
    return fitting.fit(rows, "fm_ot", seconds=0, iterations=300, learning_rate=1e-2)


def test_log_densities_and_samples_are_in_the_tables_units(outcome: fitting.Outcome) -> None:
    fitted = outcome.fitted
    drawn = fitted.sample(1000, 0)
    assert drawn.mean(0) == pytest.approx([20, 1000], rel=0.1)
    assert drawn.std(0) == pytest.approx([5, 200], rel=0.3)
    x, y = np.linspace(-10, 50, 61), np.linspace(-200, 2200, 61)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    mass = np.exp(fitted.log_prob(grid)).sum() * (x[1] - x[0]) * (y[1] - y[0])
    assert mass == pytest.approx(1, abs=0.03)


def test_the_three_parts_share_no_row_and_the_scale_is_of_the_training_rows() -> None:
    parts = table.split(100, np.random.default_rng(0))
    assert [len(part) for part in parts] == [80, 10, 10]
    assert sorted(np.concatenate(parts)) == list(range(100))
    rows = RNG.normal(3, 2, (50, 2))
    scale = table.scale_of(rows)
    x = scale.standardised(rows)
    assert (x.mean(0), x.std(0)) == (pytest.approx([0, 0], abs=1e-12), pytest.approx([1, 1]))
    assert scale.original(x) == pytest.approx(rows)
    assert scale.log_volume == pytest.approx(np.log(rows.std(0)).sum())


def test_the_best_validated_weights_are_kept(outcome: fitting.Outcome) -> None:
    rows = table.Table(tuple(ROWS.columns), ROWS.to_numpy())
    _, validation, _ = table.split(len(ROWS), np.random.default_rng(0))
    nll = -outcome.fitted.log_prob(rows.rows[validation]).mean()
    lowest = min(value for _, value in outcome.validations) + outcome.fitted.scale.log_volume
    assert nll == pytest.approx(lowest, abs=1e-4)


def test_a_fit_by_iterations_repeats() -> None:
    rows = table.Table(tuple(ROWS.columns), ROWS.to_numpy())
    first, again = (fitting.fit(rows, "ot_cfm", 0, seed=3, iterations=20) for _ in range(2))
    other = fitting.fit(rows, "ot_cfm", 0, seed=4, iterations=20)
    assert first.fitted.sample(9, 0).tolist() == again.fitted.sample(9, 0).tolist()
    assert first.fitted.sample(9, 0).tolist() != other.fitted.sample(9, 0).tolist()


def test_a_fit_ends_with_its_seconds() -> None:
    rows, now = table.Table(tuple(ROWS.columns), ROWS.to_numpy()), [0.0]

    def clock() -> float:
        now[0] += 0.5  # each step takes half a second
        return now[0]

    assert fitting.fit(rows, "fm_ot", 5.0, clock=clock).iterations == 10


def test_a_fit_ends_when_the_validation_rises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "PATIENCE", 2)
    monkeypatch.setattr(fitting, "VALIDATIONS", 60)
    few = table.Table(("a", "b"), RNG.normal(size=(60, 2)))
    found = fitting.fit(few, "fm_ot", 0, iterations=300, learning_rate=0.1)
    assert found.iterations < 300
    lowest = min(value for _, value in found.validations)
    assert [value for _, value in found.validations].index(lowest) == len(
        found.validations
    ) - 1 - fitting.PATIENCE


def test_a_model_comes_back_as_it_was(outcome: fitting.Outcome, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(outcome.fitted.packed())
    again = fitting.load(path)
    assert (
        again.log_prob(ROWS.to_numpy()[:5]).tolist() == outcome.fitted.log_prob(ROWS.to_numpy()[:5]).tolist()
    )
    assert again.names == tuple(ROWS.columns)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "os:system"},
        {"width": 10**9},
        {"names": ["a"] * 9},
        {"strength": "x"},
        {"more": 1},
        {"state": {}},
    ],
)
def test_a_file_that_is_no_model_is_one_line(outcome: fitting.Outcome, tmp_path: Path, change) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(outcome.fitted.packed())
    torch.save({**torch.load(path), **change}, path)
    with pytest.raises(UserError, match="no model that `cnf-bench fit` wrote"):
        fitting.load(path)


def test_the_verbs_fit_score_and_sample(place: Path) -> None:
    out = place / "out"
    code, told = called("fit", place / "rows.csv", "--iterations", 5, "--out", out, "-n", 50)
    assert code == 0, told
    assert {p.name for p in out.iterdir()} >= {
        "model.pt", "heldout.csv", "samples.csv", "summary.json", "pairs.svg", "index.html"
    }  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    held_out = pd.read_csv(out / "heldout.csv")
    assert summary["held_out_nll"] == pytest.approx(-held_out.log_prob.mean())
    code, scored = called("score", out / "model.pt", place / "rows.csv")
    every = [float(line.split(",")[1]) for line in scored.splitlines()[1:]]
    assert [every[row - 1] for row in held_out.row] == pytest.approx(held_out.log_prob.tolist())
    code, drawn = called("sample", out / "model.pt", "-n", 50)
    assert drawn == (out / "samples.csv").read_text()
    assert (
        "mass &lt;kg&gt;" not in (out / "index.html").read_text()
        or "<kg>" not in (out / "index.html").read_text()
    )


def test_the_page_shows_names_as_text() -> None:
    made = page("a <b>", [("<i>", "x & y")])
    assert made.count("a &lt;b&gt;") == 2
    assert "<td>&lt;i&gt;</td><td>x &amp; y</td>" in made


def test_nothing_of_the_users_is_overwritten(place: Path) -> None:
    out = place / "out"
    out.mkdir()
    (out / "samples.csv").write_text("mine")
    code, _ = called("fit", place / "rows.csv", "--iterations", 2, "--out", out)
    assert (code, (out / "samples.csv").read_text()) == (1, "mine")
    assert not (out / "model.pt").exists()


BAD = {
    "missing": (ROWS.assign(temp=[np.nan, *ROWS.temp[1:]]), "column 'temp' .* 1 missing values, the first in row 1"),
    "infinite": (ROWS.assign(temp=[1, np.inf, *ROWS.temp[2:]]), "has 1 infinite values, the first in row 2"),
    "text": (ROWS.assign(name="x"), "column 'name' of .* holds text"),
    "constant": (ROWS.assign(one=7.0), "column 'one' has one value only, 7"),
    "twice": (ROWS.assign(again=ROWS.temp), "columns 'temp' and 'again' are one"),
    "scaled": (ROWS.assign(kelvin=ROWS.temp + 273.15), "columns 'temp' and 'kelvin' are one up to scale and shift"),
    "one row": (ROWS[:1], "has 1 rows; at least 50 are needed"),
    "no rows": (ROWS[:0], "has 0 rows; at least 50"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("kind", ["csv", "npy"])
def test_a_table_that_can_not_be_fitted_is_a_line(name: str, kind: str, tmp_path: Path) -> None:
    frame, said = BAD[name]
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif name == "text":
        pytest.skip("an array of numbers holds no text")
    else:
        np.save(path, frame.to_numpy(np.float64))
        for i, column in enumerate(frame.columns):
            said = said.replace(f"'{column}'", f"'x{i}'")
    with pytest.raises(UserError, match=said):
        fitting.fit(table.read(path, fitting.LEAST), "fm_ot", 1.0)


def test_every_fault_has_a_line_of_its_own(tmp_path: Path) -> None:
    ROWS.assign(a="x", temp=np.nan).to_csv(tmp_path / "rows.csv", index=False)
    code, told = called("fit", tmp_path / "rows.csv")
    assert code == 2
    assert len([line for line in told.splitlines() if line.startswith("cnf-bench: column")]) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,a\n1,2\n", "two columns of .* are called 'a'"),
        ("", "cannot read"),
        ("a,b\n1,2,3,4\n5,6\n", "cannot read"),
        ("a,b\n1,2\n5\n", "missing"),
    ],
)
def test_odd_files_are_one_line(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        table.read(path, 50)


@pytest.mark.parametrize("name", ["absent.csv", "rows.txt"])
def test_files_of_no_known_kind_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("a\n1\n")
    with pytest.raises(UserError, match=r"give a \.csv, \.npy or \.parquet file"):
        table.read(tmp_path / name)


def test_discrete_columns_and_repeated_rows_are_remarked() -> None:
    rows = table.Table(("a", "b"), np.repeat(RNG.integers(0, 3, (30, 2)).astype(float), 2, axis=0))
    found = table.remarks(rows)
    assert ["distinct values" in line for line in found] == [True, True, False]
    assert "rows come more than once" in found[-1]
    assert table.remarks(table.Table(("a",), RNG.normal(size=(50, 1)))) == []


def test_rows_of_other_columns_are_refused(place: Path, outcome: fitting.Outcome) -> None:
    (place / "model.pt").write_bytes(outcome.fitted.packed())
    ROWS.rename(columns={"temp": "other"}).to_csv(place / "other.csv", index=False)
    code, _ = called("score", place / "model.pt", place / "other.csv")
    assert code == 1


def test_an_unknown_method_and_a_diverging_fit_are_one_line() -> None:
    rows = table.Table(tuple(ROWS.columns), ROWS.to_numpy())
    with pytest.raises(UserError, match="no method is called 'glow'"):
        fitting.fit(rows, "glow", 1.0)


def test_csv_keeps_every_digit_and_whole_columns_whole() -> None:
    assert csv(("row", "x"), np.array([[1.0, 0.1], [2.0, 1 / 3]])) == f"row,x\n1,0.1\n2,{1 / 3!r}\n"


def test_the_template_of_a_method_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from replications.suite.check import faults

    monkeypatch.chdir(tmp_path)
    assert called("new", "method", "mine") == (0, "mine.py\n")
    assert faults("mine.py:build") == []
    assert called("new", "method", "mine")[0] == 1  # it exists
    assert called("new", "method", "no name")[0] == 1
    assert called("new", "poem", "mine2")[0] == 1
