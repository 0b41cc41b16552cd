"""What comes from files acts on no terminal and no spreadsheet."""

import ast
import csv
import io
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bench.cli
from bench import files
from bench.cli.main import main
from bench.execution.processes import end_leftovers
from bench.report import latex, markdown
from bench.report.table import Column, Table, csv_text
from bench.text import HIDDEN, cell, plain


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_nothing_that_a_terminal_acts_on_is_left(text: str) -> None:
    shown = plain(text)
    assert not {unicodedata.category(letter) for letter in shown} & HIDDEN
    assert plain(shown) == shown


@pytest.mark.parametrize(
    "text", ["\x1b]0;title\x07", "\x9b31m", "a\rb", "a\nb", "\u202etxt", "\u200b", "\ud800", "\x7f"]
)
def test_control_sequences_are_shown_and_not_sent(text: str) -> None:
    assert plain(text).isascii()
    assert "\\" in plain(text)


def test_letters_of_any_language_stay() -> None:
    assert plain("é ∇ 数 † –") == "é ∇ 数 † –"


@pytest.mark.parametrize("text", ["=1+1", "+cmd|'/c calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " =1", "-", "-x"])
def test_no_text_is_a_formula(text: str) -> None:
    (row,) = csv.reader(io.StringIO(csv_text(["h"], [[text]]).split("\n", 1)[1]))
    assert row[0].lstrip()[0] not in "=+@-"


def test_numbers_stay_numbers() -> None:
    assert csv_text(["h"], [[-0.5, "-0.5 1e-05", "-3", None]]) == "h\n-0.5,-0.5 1e-05,-3,\n"
    assert cell("a=b") == "a=b"


def test_tables_are_clean_in_every_form() -> None:
    table = Table("t", "c", (Column("a"),), (("red \x1b[31m\nline",),))
    for text in (markdown.render(table), latex.render(table)):
        assert "\x1b" not in text
        assert "red" in text


def calls(path: Path, *names: str) -> list[ast.Call]:
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [call for call in found if ast.unparse(call.func) in names]


@pytest.mark.parametrize(
    "path", sorted(Path(bench.cli.__file__).parent.glob("*.py")), ids=lambda path: path.name
)
def test_a_verb_prints_by_one_function_that_cleans(path: Path) -> None:
    printed = [ast.unparse(call.args[0]) for call in calls(path, "typer.echo", "print")]
    assert all(
        text.startswith(("json.dumps(", "plain(", "f'skipped: {plain(", "f'cnf-bench: {plain("))
        for text in printed
    )


def test_names_of_folders_act_on_no_terminal(fake_paper, tmp_path, capsys, monkeypatch) -> None:
    folder = tmp_path / "\x1b[2J\u202ea\udce9"
    (folder / "records").mkdir(parents=True)
    (folder / "records" / "stray").write_text("")
    for words in (["--fix"], ["--move-to", str(folder / "b")]):
        monkeypatch.setattr(sys, "argv", ["cnf-bench", "doctor", str(folder), *words])
        with pytest.raises(SystemExit):
            main()
    shown = capsys.readouterr().out
    assert plain(shown.replace("\n", " ")) == shown.replace("\n", " ")
    assert "nothing is wrong" in shown
    assert "1 moved to" in shown


def test_names_that_are_no_text_are_names_all_the_same(tmp_path) -> None:
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    assert end_leftovers(folder, proc=tmp_path) == []
    files.write(folder / "a\udce9", "content", folder)
    assert [path.read_text() for path in folder.iterdir()] == ["content"]
