"""A report overwrites and removes only what the last report of the folder wrote."""

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.report import manifest
from bench.report.manifest import NAME, publish

FIRST = {"index.html": b"1", "tables/a.md": b"a", "figures/a.svg": b"s"}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_report_replaces_the_last_one_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.md").write_bytes(b"mine")
    publish(tmp_path, FIRST)
    second = {"index.html": b"2", "tables/b.md": b"b"}
    publish(tmp_path, second)
    left = tree(tmp_path)
    del left[NAME]
    assert left == second | {"tables/mine.md": b"mine"}
    assert manifest.read(tmp_path) == {name: [manifest.sha256(data)] for name, data in second.items()}


def a_foreign_file(out: Path) -> str:
    (out / "tables").mkdir(parents=True)
    (out / "tables" / "a.md").write_bytes(b"mine")
    return "tables/a.md"


def a_foreign_page(out: Path) -> str:
    out.mkdir()
    (out / "index.html").write_bytes(b"my page")
    return "index.html"


def a_changed_file(out: Path) -> str:
    publish(out, FIRST | {"tables/old.md": b"old"})
    (out / "tables" / "a.md").write_bytes(b"a, and what I think of it")
    return "tables/a.md"


def a_changed_file_that_is_no_more(out: Path) -> str:
    publish(out, FIRST | {"tables/old.md": b"old"})
    (out / "tables" / "old.md").write_bytes(b"kept by me")
    return "tables/old.md"


def a_link(out: Path) -> str:
    (out / "tables").mkdir(parents=True)
    (out / "mine").write_bytes(b"a")
    (out / "tables" / "a.md").symlink_to(out / "mine")
    return "tables/a.md"


def a_linked_folder(out: Path) -> str:
    (out / "mine").mkdir(parents=True)
    (out / "mine" / "a.md").write_bytes(b"a")
    (out / "tables").symlink_to(out / "mine")
    return "tables/a.md"


@pytest.mark.parametrize(
    "plant",
    [a_foreign_file, a_foreign_page, a_changed_file, a_changed_file_that_is_no_more, a_link, a_linked_folder],
)
def test_what_is_not_the_last_reports_is_refused_by_name_and_nothing_is_written(
    tmp_path: Path, plant
) -> None:
    out = tmp_path / "out"
    name = plant(out)
    before = tree(out)
    with pytest.raises(UserError, match=name) as caught:
        publish(out, FIRST | {"tables/b.md": b"b"})
    assert "\n" not in str(caught.value)
    assert tree(out) == before


def test_files_that_are_what_would_be_written_are_taken_over(tmp_path: Path) -> None:
    publish(tmp_path, FIRST)
    (tmp_path / NAME).unlink()
    publish(tmp_path, FIRST)
    publish(tmp_path, {"index.html": b"2"})
    assert set(tree(tmp_path)) == {NAME, "index.html"}


@pytest.mark.parametrize("last", range(1, 6))
def test_a_report_that_was_cut_short_is_taken_up(tmp_path: Path, monkeypatch, last: int) -> None:
    publish(tmp_path, FIRST)
    whole, count = manifest.files.write, 0

    def cut(*arguments):
        nonlocal count
        count += 1
        if count == last:
            raise KeyboardInterrupt
        whole(*arguments)

    second = {name: data + b"2" for name, data in FIRST.items()}
    monkeypatch.setattr(manifest.files, "write", cut)
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path, second)
    monkeypatch.setattr(manifest.files, "write", whole)
    third = {"index.html": b"3"}
    publish(tmp_path, third)
    assert set(tree(tmp_path)) == {NAME, *third}


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", '{"files": []}', '{"files": {"../x": ["a"]}}', '{"files": {"records/a/b.json": ["a"]}}', "{}",
        '{"files": {"a.md": [{}]}}', '{"files": {"a.md": "ab"}}', '{"files": {"a.md": null}}', '{"files": null}', "3",
    ],
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(UserError, match="manifest"):
        publish(tmp_path, FIRST)
    assert set(tree(tmp_path)) == {NAME}


def test_drafts_of_a_report_that_was_killed_go_with_the_next_and_nothing_else_does(tmp_path: Path) -> None:
    drafts = [tmp_path / f".{NAME}.{'0' * 16}.part", tmp_path / "tables" / f".a.md.{'1' * 16}.part"]
    others = [
        tmp_path / f".thesis.md.{'0' * 16}.part",
        tmp_path / ".index.html.part",
        tmp_path / "tables" / ".a.md",
    ]
    for path in (*drafts, *others):
        path.parent.mkdir(exist_ok=True)
        path.write_text("a part")
    publish(tmp_path, {"index.html": b"1", "tables/a.md": b"2"})
    assert not any(path.exists() for path in drafts)
    assert all(path.read_text() == "a part" for path in others)
