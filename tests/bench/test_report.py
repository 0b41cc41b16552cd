"""The report: tables, figures, page, corrections; built from made-up records of a made-up paper."""

import csv
import io
import re
import subprocess
import sys
import unicodedata
from dataclasses import replace

import pytest
from made_up import ENVIRONMENT, made, three_seeds

from bench.claim import Claim, load_claims
from bench.errors import UserError
from bench.identity import identify
from bench.inference import LOOKS, smallest_effect
from bench.record import Measured, Record, read_all, write
from bench.report import corrections, latex, markdown, measured, verdicts
from bench.report.build import build
from bench.report.content import collect
from bench.report.html import page
from bench.report.show import show
from bench.stats import mean_interval, paired_ratio
from bench.text import HIDDEN
from bench.verdict import Verdict, judge_all


def judged(records):
    return judge_all(load_claims(), records)


def folder_of(tmp_path, records):
    for record in records:
        write(tmp_path / "in", record)
    return tmp_path / "in"


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_two_builds_give_the_same_bytes(curved, tmp_path):
    source = folder_of(tmp_path, curved)
    index = build([source], tmp_path / "a")
    build([source], tmp_path / "deep" / "b")
    first = contents(tmp_path / "a")
    assert index == tmp_path / "a" / "index.html"
    assert first == contents(tmp_path / "deep" / "b")
    tables = {
        f"tables/{n}.{k}"
        for n in ("fake.act", "claims", "claims-fake", "costs")
        for k in ("md", "csv", "tex")
    }
    figures = {f"figures/fake.act.curves.{k}" for k in ("svg", "pdf")}
    assert set(first) == tables | figures | {"index.html", "CORRECTIONS.md", "manifest.json"}


def test_the_order_of_folders_and_files_does_not_matter(records, tmp_path):
    for i, record in enumerate(records):
        write(tmp_path / f"in{i % 2}", record)
    build([tmp_path / "in0", tmp_path / "in1"], tmp_path / "a")
    build([tmp_path / "in1", tmp_path / "in0"], tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_report_can_be_written_where_its_records_lie(records, tmp_path):
    source = folder_of(tmp_path, records)
    build([source], source)
    first = contents(source)
    build([source], source)
    assert contents(source) == first


def test_building_imports_neither_torch_nor_pyplot(tmp_path):
    (tmp_path / "in").mkdir()
    code = (
        "import sys; from pathlib import Path; from bench.report import build, show, figures;"
        f"build.build([Path({str(tmp_path / 'in')!r})], Path({str(tmp_path / 'out')!r}));"
        "from bench.report import style; style.render(style.new_figure()[0]);"
        "assert 'matplotlib' in sys.modules;"
        "print([m for m in ('torch', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_output_folder_that_is_a_file_is_one_line(records, tmp_path):
    source = folder_of(tmp_path, records)
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError) as caught:
        build([source], tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "out").read_text() == "mine"


def test_a_missing_record_folder_is_a_user_error(fake, tmp_path):
    with pytest.raises(UserError, match="no folder"):
        build([tmp_path / "absent"], tmp_path / "out")


def test_smoke_runs_alone_fill_no_table_of_results(fake, tmp_path):
    runs = [made(fake, "plain", s, [("max_error", 0.123456)], tier="smoke") for s in range(2)]
    runs.append(made(fake, "diverges", 0, tier="smoke", status="diverged", message="gone"))
    html = build([folder_of(tmp_path, runs)], tmp_path / "out").read_text()
    assert "Smoke runs prove that it runs" in html
    assert re.search(r"fake\.act</th>\s*<td[^>]*>2</td>\s*<td[^>]*>1</td>", html)
    assert not (tmp_path / "out" / "tables" / "fake.act.md").exists()
    assert not any(b"0.1235" in body or b"0.123456" in body for body in contents(tmp_path / "out").values())


def test_stale_records_are_named_and_not_used(fake, records):
    old = made(fake, "sleeps", 0, [("max_error", 777.0)])
    old.identity = replace(old.identity, version=99)
    html = page(collect([*records, old]))
    assert "1 not used" in html
    assert "fake.act/sleeps cpu seed 0" in html
    assert "777" not in html


def test_no_records_at_all_still_make_a_page(fake):
    html = page(collect([]))
    assert "No results" in html
    assert "not run" in html


def test_a_cell_is_the_mean_and_the_half_width_of_the_interval(fake, records):
    table = measured.tables(fake, records[:7])[0]
    interval = mean_interval([1.0, 1.1, 1.2])
    assert [c.header for c in table.columns] == ["variant", "runs", "max_error", "nfe"]
    assert table.rows[0] == ("plain", "3 done", f"1.10 ± {interval.high - 1.1:.2f}", "7 ± 0")
    assert "tier cpu, seeds 0, 1, 2" in table.caption


def test_one_seed_has_no_interval(fake):
    table = measured.tables(fake, three_seeds(fake, "plain", [0.5]))[0]
    assert table.rows[0][2] == "0.5000"


def test_failed_runs_show_their_status_and_lend_no_number(fake, records):
    failed = made(fake, "plain", 3, [("max_error", 9e9)], status="diverged", message="gone")
    table, failures = measured.tables(fake, [*records[:7], failed])
    assert [row[:3] for row in table.rows] == [
        ("plain", "3 done, 1 diverged", table.rows[0][2]),
        ("double", "3 done", table.rows[1][2]),
        ("diverges", "1 diverged", "–"),
    ]
    assert table.rows[0][2].startswith("1.10 ±")
    assert failures.rows[-1] == ("diverges", "cpu", "0", "diverged", "0.5000", "17", "a_b | c [x]")


def test_tiers_never_share_a_table(fake):
    offered = replace(fake, tiers={"cpu": {}, "gpu": {}})
    runs = three_seeds(offered, "plain", [1.0, 1.0]) + three_seeds(offered, "plain", [2.0, 2.0], tier="gpu")
    tables = measured.tables(offered, runs)
    assert [t.title for t in tables] == ["Measured, tier gpu", "Measured, tier cpu"]
    assert [t.rows[0][2] for t in tables] == ["2 ± 0", "1 ± 0"]


def test_two_protocols_never_share_a_column(fake):
    runs = [
        made(fake, "plain", 0, [("max_error", 1.0, "exact/64"), ("nfe", 7, "count")]),
        made(fake, "double", 0, [("max_error", 3.0, "exact/32"), ("nfe", 7, "count")]),
    ]
    table = measured.tables(fake, runs)[0]
    headers = [c.header for c in table.columns]
    assert headers == ["variant", "runs", "max_error by exact/64", "max_error by exact/32", "nfe"]
    assert [row[2:] for row in table.rows] == [("1", "–", "7"), ("–", "3", "7")]
    assert table.notes[0] == "nfe: protocol count."


def test_seeds_of_two_protocols_are_not_averaged(fake):
    runs = [made(fake, "plain", s, [("max_error", float(s), f"p{s}")]) for s in (1, 2)]
    assert measured.tables(fake, runs)[0].rows[0][2:] == ("1 (n=1)", "2 (n=1)")


def test_metrics_stand_in_the_declared_order(fake):
    runs = [made(fake, "plain", 0, [("nfe", 7), ("max_error[b]", 2.0), ("max_error[a]", 1.0)])]
    table = measured.tables(fake, runs)[0]
    assert [c.header for c in table.columns[2:]] == ["max_error[b]", "max_error[a]", "nfe"]
    assert table.notes[0] == "max_error, nfe: protocol p/1."


def test_a_column_has_one_unit(fake):
    experiment = replace(fake, metrics=("peak_memory", "solve_time"))
    runs = [
        made(experiment, variant, 0, [("peak_memory", size), ("solve_time", seconds)])
        for variant, size, seconds in (("plain", 2**20 * 3, 0.002), ("double", 2**19, 0.25))
    ]
    table = measured.tables(experiment, runs)[0]
    assert [c.label for c in table.columns[2:]] == ["peak_memory (MiB)", "solve_time (ms)"]
    assert [row[2:] for row in table.rows] == [("3", "2"), ("0.5000", "250")]


def test_a_time_from_a_shared_machine_is_marked_and_no_other_number_is(fake):
    experiment = replace(fake, metrics=("solve_time", "max_error"))

    def run(variant, seed, **environment):
        record = made(experiment, variant, seed, [("solve_time", 2.0), ("max_error", 3.0)])
        record.environment = ENVIRONMENT | environment
        return record

    foreign = "other processes used 0.8 cores"
    runs = [run("plain", 0), run("plain", 1, shared=foreign), run("double", 0), run("double", 1)]
    table = measured.tables(experiment, runs)[0]
    assert [row[2:] for row in table.rows] == [("2 ± 0 ‡", "3 ± 0"), ("2 ± 0", "3 ± 0")]
    note = f"‡: timed on a shared machine ({foreign}); settles no claim."
    assert table.notes[-1] == note
    assert f"- {note}" in markdown.render(table)
    assert r"\textdaggerdbl{}: timed on a shared machine" in latex.render(table)
    rows = [dict(zip(measured.CSV_HEADER, row, strict=True)) for row in measured.csv_rows(experiment, runs)]
    assert [(r["variant"], r["seed"], r["metric"]) for r in rows if r["shared"]] == [
        ("plain", 1, "solve_time")
    ]
    alone = measured.tables(experiment, [run("plain", 0)])[0]
    assert not [text for text in (*alone.notes, *alone.rows[0]) if "‡" in text]


def test_eager_and_compiled_times_have_a_column_each(fake):
    experiment = replace(fake, metrics=("train_time",))
    runs = [
        made(experiment, "plain", 0, [("train_time", 1.0, "p/eager")]),
        made(experiment, "plain", 1, [("train_time", 3.0, "p/compiled")]),
    ]
    table = measured.tables(experiment, runs)[0]
    assert [c.header for c in table.columns[2:]] == ["train_time by p/eager", "train_time by p/compiled"]
    assert table.rows[0][2:] == ("1 (n=1)", "3 (n=1)")


def test_the_csv_has_every_seed_in_full_precision(fake, records):
    text = io.StringIO()
    csv.writer(text).writerows([measured.CSV_HEADER, *measured.csv_rows(fake, records[:7])])
    rows = list(csv.DictReader(io.StringIO(text.getvalue())))
    errors = [float(r["value"]) for r in rows if r["variant"] == "plain" and r["metric"] == "max_error"]
    assert errors == [1.0, 1.1, 1.2]
    assert {r["status"] for r in rows if r["variant"] == "diverges"} == {"diverged"}
    bare = list(measured.csv_rows(fake, [made(fake, "breaks", 0, status="error", message="planted")]))
    assert len(bare) == 1
    assert len(bare[0]) == len(measured.CSV_HEADER)
    assert bare[0][-1] == "planted"


def test_latex_rows_have_as_many_cells_as_columns(fake, records):
    for table in (*measured.tables(fake, records[:7]), verdicts.table(judged(records), "t")):
        text = latex.render(table)
        body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
        rows = [line for line in body.splitlines() if line.endswith(r"\tabularnewline")]
        assert len(rows) == 1 + len(table.rows)
        assert all(len(re.findall(r"(?<!\\)&", row)) == len(table.columns) - 1 for row in rows)
        assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))


def test_markdown_cells_can_not_break_the_table(fake, records):
    failures = markdown.render(measured.tables(fake, records[:7])[1])
    assert r"a\_b \| c \[x\]" in failures
    rows = [line for line in failures.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {8}


def test_the_page_escapes_text_of_records(fake):
    run = made(fake, "plain", 0, status="error", message="<script>alert(1)</script>")
    assert "<script>alert" not in page(collect([run]))


def test_no_text_of_a_record_acts_on_the_page(fake):
    text = "\x9b31m\x1b[2J\u202e"
    environment = ENVIRONMENT | {"cpu": text, "versions": {text: text}}
    run = replace(made(fake, "plain", 0), environment=environment, command=f"cnf-bench {text}")
    html = page(collect([run]))
    assert not {letter for letter in html if unicodedata.category(letter) in HIDDEN} - {"\n"}
    assert "\\x9b31m" in html


def test_claims_stand_beside_what_was_measured(records):
    by_id = {row[0]: row for row in verdicts.table(judged(records), "t").rows}
    error, double = by_id["fake.error"], by_id["fake.double"]
    assert error[3] == "0.5 †"
    assert error[4] == "1.10 [0.85, 1.35]"  # 1.1 -+ 0.248
    assert error[5:8] == ("3", "cpu", "not reproduced")
    assert double[4].startswith("2")
    assert double[7] == "reproduced"


def test_corrections_give_source_measurement_and_reason(records):
    impossible = Claim(
        "z.is", "zoo", "score is 8.5", "Table 9", "text", "read", verdict="impossible", note="max is 2"
    )
    found = [*judged(records), Verdict(impossible, "impossible", reason=impossible.note)]
    text = corrections.document(found)
    assert (
        text.index("## fake") < text.index("### fake.error") < text.index("## zoo") < text.index("### z.is")
    )
    assert "fake.double" not in text
    assert "- Source (Table 1): the error is 0.5 (0.5 †)" in text
    assert r"3 seeds, tier cpu (own setting), fake.act/plain" in text
    assert "- Why: max is 2" in text
    assert "3 or more seeds of fake.act/plain whose interval meets the limit" in text


def test_a_printed_number_of_another_setting_is_no_correction():
    value = claim_of(kind="value", value=0.5, experiment="fake.act", variant="plain")
    order = claim_of(kind="order", value=None, relation="<", against={"variant": "double"})
    found = mean_interval([1.0, 2.0, 3.0])
    for claim, label, listed in (
        (value, "transfer", False),
        (value, "own setting", True),
        (order, "transfer", True),
    ):
        text = corrections.document([Verdict(claim, "not reproduced", found, tier="cpu", label=label)])
        assert (f"### {claim.id}" in text) == listed
    assert "- Claimed: \\< 1" in text


def test_the_smallest_visible_effect_is_that_of_the_seeds_scatter():
    """Power 0.8 at the first look."""
    least = smallest_effect(3, level=LOOKS[0])
    apart = Verdict(claim_of(), "not reproduced", mean_interval([1.0, 2.0, 3.0]))
    assert corrections.visible(apart) == f"{least:.2g}"
    quotient = claim_of(kind="order", against={"variant": "double"}, relation="<")
    halves = Verdict(quotient, "not reproduced", paired_ratio([1.0, 2.0, 4.0], [1.0, 1.0, 1.0]))
    assert corrections.visible(halves) == f"a factor of {2**least:.4g}"
    exact = Verdict(claim_of(), "not reproduced", mean_interval([1.0]))
    assert corrections.visible(exact) == "any: the number involves no chance"


def claim_of(**changes):
    return Claim("f.c", "fake", "t", "w", **({"kind": "value", "source": "read", "value": 1.0} | changes))


def test_verdicts_are_counted_apart_by_evidence_and_by_what_holds_as_a_family():
    def verdict(name, label="own setting", discovered=None):
        return Verdict(claim_of(), name, label=label, discovered=discovered)

    found = [verdict("reproduced", discovered=True), verdict("reproduced", discovered=False)]
    found += [
        verdict("not reproduced", "by construction"),
        verdict("inconclusive"),
        verdict("reproduced", ""),
    ]
    table = verdicts.evidence_counts(found)
    assert {row[0]: row[1:] for row in table.rows} == {
        "own setting": ("2 (1)", "0", "0"),
        "transfer": ("0", "0", "0"),
        "derived": ("0", "0", "0"),
        "by construction": ("0", "0", "1"),
        "argument": ("1", "0", "0"),
    }


def test_claims_csv_has_one_row_a_claim_and_every_seed(records, tmp_path):
    build([folder_of(tmp_path, records)], tmp_path / "out")
    with (tmp_path / "out" / "tables" / "claims.csv").open(newline="") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    assert set(rows) == {"fake.error", "fake.double"}
    assert [float(v) for v in rows["fake.error"]["seeds"].split()] == [1.0, 1.1, 1.2]


def test_every_verdict_has_a_badge_on_the_page(records):
    html = page(collect(records))
    assert '<span class="badge not-reproduced">not reproduced</span>' in html
    assert '<span class="badge reproduced">reproduced</span>' in html
    assert "cnf-bench run fake.act --tier cpu --seeds 3" in html
    assert "Test CPU, 2 cores" in html
    assert "0123456789" in html


def test_the_page_asks_no_network_for_anything(curved):
    html = page(collect(curved))
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', html)
    assert "data:image/svg+xml;base64," in html


def test_show_tells_what_a_record_holds(fake):
    from rich.console import Console

    run = made(
        fake, "diverges", 0, [("max_error[a/1]", 0.25)], status="diverged", message="not [finite]", nfe=17
    )
    console = Console(file=io.StringIO(), width=120)
    console.print(show(run))
    text = console.file.getvalue()
    for part in (
        "fake.act/diverges cpu seed 0",
        "diverged",
        "not [finite]",
        "max_error[a/1]",
        "0.2500",
        "Test CPU",
    ):
        assert part in text


def test_records_survive_the_way_through_a_folder(records, tmp_path):
    again = list(read_all([folder_of(tmp_path, records)]))
    assert page(collect(again)) == page(collect(list(reversed(records))))


def test_a_run_with_settings_of_its_own_is_a_row_of_its_own_and_no_figure_or_claim(fake, records):
    identity = identify(fake, "plain", "cpu", 0, {"behaviour": "raise"})
    own = Record(identity, "done", metrics={"max_error": Measured(9.0, "", "p/1")}, environment=ENVIRONMENT)
    report = collect([*records, own])
    (section,) = [s for s in report.sections if s.experiment.name == "fake.act"]
    rows = [row[0] for row in section.tables[0].rows]
    assert rows == ["plain", "plain [behaviour=raise]", "double", "diverges"]
    assert report.verdicts == collect(records).verdicts
    assert [f.files for f in section.figures] == [f.files for f in collect(records).sections[0].figures]


def test_random_streams_of_schema_1_are_marked_in_the_table(fake, records):
    plain = collect(records).sections[0].tables[0].notes
    old = replace(records[0], identity=replace(records[0].identity, seeded_by={"schema": 1, "pairing": "x"}))
    marked = collect([old, *records[1:]]).sections[0].tables[0].notes
    assert len(marked) == len(plain) + 1
    assert "cnf-bench status" in marked[-1]
