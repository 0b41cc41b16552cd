"""The suite's tables, made from planted records."""

import dataclasses

import numpy as np
import pytest

from bench.identity import identify
from bench.record import Curve, Measured, Record
from bench.report import measured
from replications.suite import figures, rows, tables
from replications.suite.experiments.density2d.declaration import DENSITY2D

NOISE = np.random.default_rng(0).normal(0, 1, 8)


def record(data: str, method: str, seed: int, nll: float, status: str = "done", **errors: float) -> Record:
    identity = dataclasses.replace(
        identify(DENSITY2D, f"{data}_{method}", "smoke", seed), tier="cpu"
    )  # planted: untuned variants are offered at smoke alone
    metrics = {
        "nll": Measured(nll, "nats", "planted", 100, 0.02),
        "debiased_wasserstein2": Measured(nll / 10, "", "planted"),
    } | {key: Measured(value, "nats", "planted") for key, value in errors.items()}
    return Record(identity, status, metrics=metrics if status == "done" else {})


def planted() -> list[Record]:
    own = np.random.default_rng(1)
    return [
        record(
            data,
            method,
            seed,
            mean + NOISE[seed] + own.normal(0, 0.001),
            nll_error=error,
            trace_error_nll=0.01,
        )
        for data in ("moons", "rings")
        for method, mean, error in (("cnf", 2.0, 0.5), ("fm_ot", 1.0, 1e-4), ("gaussian", 3.0, 0.0))
        for seed in range(8)
    ]


def test_methods_are_ranked_with_letters_and_yardsticks_stand_below() -> None:
    table, samples, _ = tables.tables(planted())
    assert [row[0] for row in table.rows] == [rows.NAMES[m] for m in ("fm_ot", "cnf", "gaussian")]
    assert [c.header for c in table.columns] == ["method", "mean rank", "moons", "rings"]
    ranks = [row[1] for row in table.rows]
    assert ranks == ["1.0 [1.0, 1.0]", "2.0 [2.0, 2.0]", "–"]
    assert [cell.split()[-1] for cell in table.rows[0][2:]] == ["a", "a"]
    assert [cell.split()[-1] for cell in table.rows[1][2:]] == ["b", "b"]
    assert any("leads" in note for note in table.notes)
    assert samples.title == "Equal time: samples"


def test_the_largest_part_of_an_nlls_error_is_named() -> None:
    errors = tables.tables(planted())[2]
    found = {row[0]: row[1:] for row in errors.rows}
    assert found[rows.NAMES["cnf"]][-1] == "solver"
    assert found[rows.NAMES["fm_ot"]][-1] == "seeds"
    assert found[rows.NAMES["fm_ot"]][:3] == ("0.00010", "0.010", "0.020")
    assert float(found[rows.NAMES["fm_ot"]][3]) == pytest.approx(NOISE.std(ddof=1) / 8**0.5, rel=0.05)
    assert rows.NAMES["gaussian"] not in found


def test_a_failed_run_is_counted_and_ranks_last() -> None:
    records = [r for r in planted() if not (rows.of(r) == ("moons", "fm_ot") and r.identity.seed == 0)]
    records.append(record("moons", "fm_ot", 0, 0.0, status="diverged"))
    table = tables.tables(records)[0]
    row = next(row for row in table.rows if row[0] == rows.NAMES["fm_ot"])
    assert "(1 failed)" in row[2]
    assert row[1].startswith("1.5 ")  # second on moons, first on rings


def test_budgets_are_never_mixed() -> None:
    by_time = planted()
    by_evaluations = [
        dataclasses.replace(
            r, identity=dataclasses.replace(r.identity, config={**r.identity.config, "evaluations": 100})
        )
        for r in by_time
        if rows.of(r)[1] != "gaussian"
    ]
    titles = [table.title for table in tables.tables(by_time + by_evaluations)]
    assert titles == [
        f"Equal {budget}: {what}"
        for budget in ("time", "evaluations")
        for what in ("log-density", "samples", "error of the NLL")
    ]


def test_the_kl_divergence_is_shown_where_every_truth_is_known() -> None:
    both = [
        dataclasses.replace(r, metrics={**r.metrics, "kl": Measured(0.1, "nats", "planted")})
        for r in planted()
    ]
    assert tables.tables(both)[0].caption.startswith("KL divergence")
    some = [r if r.identity.config["data"] == "moons" else p for r, p in zip(both, planted(), strict=True)]
    assert tables.tables(some)[0].caption.startswith("NLL")


def test_the_report_shows_them_before_all_numbers() -> None:
    shown = measured.tables(DENSITY2D, planted())
    assert [t.title for t in shown][:1] == ["Equal time: log-density"]
    assert shown[3].title == "Measured, tier cpu"


def test_a_single_seed_has_neither_letters_nor_an_interval_nor_findings() -> None:
    (table, *_) = tables.tables([r for r in planted() if r.identity.seed == 0])
    assert all(len(row[2].split()) == 1 for row in table.rows)
    assert table.notes == (tables.LETTERS,)


@pytest.mark.parametrize("own", [{}, {"method": "mine.py:build", "method_sha256": "0" * 64}])
def test_an_own_method_stands_among_the_rows(own: dict[str, str]) -> None:
    mine = [
        dataclasses.replace(
            record("moons", "cnf", seed, 0.5 + NOISE[seed]),
            identity=identify(DENSITY2D, "moons", "smoke", seed, own),
        )
        for seed in range(8)
        if own
    ]
    (table, *_) = tables.tables(planted() + mine)
    assert any(row[0] == "mine.py:build" for row in table.rows) == bool(own)
    if own:
        changed = [measured.changed(DENSITY2D, r) for r in mine]
        assert not any(changed)


def lines_of(ax) -> dict[str, tuple[list[float], list[float]]]:
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.get_lines()}


def test_pareto_stands_excess_of_the_nll_against_costs() -> None:
    costs = {"cnf": 100, "fm_ot": 5000}
    records = [
        dataclasses.replace(
            r,
            metrics={
                **r.metrics,
                "iterations": Measured(costs[rows.of(r)[1]], "iterations", "planted"),
                "peak_memory": Measured(2**20 * costs[rows.of(r)[1]], "bytes", "planted"),
                "nfe[sampling]": Measured(20, "evaluations", "planted"),
            },
        )
        for r in planted()
        if rows.of(r)[1] in costs
    ]
    drawn = figures.pareto(records)
    assert drawn is not None
    sampling, memory, iterations = map(lines_of, drawn.axes)
    cnf, matching = rows.NAMES["cnf"], rows.NAMES["fm_ot"]
    assert sampling[cnf][1] == pytest.approx([1.0], abs=0.01)  # means 2 and 1
    assert matching in sampling
    assert (memory[cnf][0], iterations[matching][0]) == (pytest.approx([100]), pytest.approx([5000]))
    assert figures.pareto([r for r in records if rows.of(r)[1] == "cnf"]) is None


def test_work_precision_is_the_geometric_mean_over_seeds() -> None:
    curves = [Curve((1.0, 2.0, 4.0), (1e-1, 1e-2, 1e-3)), Curve((3.0, 4.0), (1e-3, 1e-4))]
    records = [
        dataclasses.replace(record("moons", "cnf", seed, 1.0), curves={"nll_error[euler]": curve})
        for seed, curve in enumerate(curves)
    ]
    drawn = figures.work_precision(records)
    assert drawn is not None
    x, y = lines_of(drawn.axes[0])[rows.NAMES["cnf"]]
    assert (x, y) == (pytest.approx([2.0, 3.0]), pytest.approx([1e-2, 1e-3]))


def test_an_own_table_that_can_not_be_made_stops_no_other() -> None:
    bad: list[str] = []
    faulty = dataclasses.replace(DENSITY2D, tables=(f"{__name__}:fail", *DENSITY2D.tables))
    assert [t.title for t in measured.tables(faulty, planted(), bad)] == [
        t.title for t in measured.tables(DENSITY2D, planted())
    ]
    assert bad == ["a table of suite.density2d cannot be made of these records: KeyError: 'planted'"]


def fail(records: list[Record]) -> None:
    raise KeyError("planted")
