"""Figures of the report: which are drawn, of which records, and what a faulty one leaves."""

from dataclasses import replace

from made_up import made, three_seeds

from bench.record import Curve
from bench.report import style
from bench.report.figures import draw_all

SEEN = []


def draw(records):
    """Error of each variant."""
    SEEN.extend(records)
    figure, ax = style.new_figure()
    ax.plot([0, 1], [r.value("max_error") for r in records][:2])
    return figure


def decline(records):
    """Nothing."""


def drawn(experiment, records):
    return list(draw_all(experiment, records, []))


def test_declared_figures_get_the_finished_runs_of_the_highest_tier(fake):
    experiment = replace(
        fake, tiers={"cpu": {}, "gpu": {}}, figures={"e": f"{__name__}:draw", "no": f"{__name__}:decline"}
    )
    SEEN.clear()
    runs = three_seeds(experiment, "plain", [1.0, 2.0]) + three_seeds(
        experiment, "plain", [3.0, 4.0], tier="gpu"
    )
    runs.append(made(experiment, "diverges", 0, tier="gpu", status="diverged"))
    (figure,) = drawn(experiment, runs)
    assert figure.name == "fake.act.e"
    assert "Error of each variant. Tier gpu, seeds 0, 1." in figure.caption
    assert [r.value("max_error") for r in SEEN] == [3.0, 4.0]
    assert figure.files["svg"].startswith(b"<?xml")
    assert figure.files["pdf"].startswith(b"%PDF")


def test_curves_are_drawn_where_nothing_is_declared(fake, curved):
    (figure,) = drawn(fake, curved[:7])
    assert figure.name == "fake.act.curves"
    assert drawn(fake, three_seeds(fake, "plain", [1.0])) == []


def test_texts_of_records_are_no_formulas_in_figures(fake):
    from bench.report.figures import curves

    text = "$$\\def\\x{\\x}$$ \x1b[2J\n$"
    curve = Curve((0.0, 1.0), (3.0, 2.0), text, text)
    bad = []
    (figure,) = draw_all(fake, three_seeds(fake, "plain", [1.0], curves={text: curve}), bad)
    assert bad == []
    assert b"\x1b" not in figure.files["svg"]
    ax = curves(three_seeds(fake, "plain", [1.0], curves={text: curve})).axes[0]
    assert ax.get_title() == "\\$\\$\\def\\x{\\x}\\$\\$ \\x1b[2J\\n\\$"


def fail(records):
    """Nothing that can be drawn."""
    raise ValueError("planted\nfault")


def test_a_figure_that_can_not_be_drawn_is_named_and_stops_no_other(fake):
    experiment = replace(fake, figures={"bad": f"{__name__}:fail", "e": f"{__name__}:draw"})
    bad = []
    (figure,) = draw_all(experiment, three_seeds(fake, "plain", [1.0, 2.0]), bad)
    assert figure.name == "fake.act.e"
    assert bad == ["figure fake.act.bad cannot be drawn of these records: ValueError: planted fault"]


def test_seeds_of_unequal_length_have_no_mean_curve(fake):
    from bench.report.figures import curves

    lengths = [Curve((0.0, 1.0), (3.0, 2.0)), Curve((0.0, 1.0, 2.0), (3.0, 2.0, 1.0))]
    figure = curves([made(fake, "plain", s, curves={"loss": c}) for s, c in enumerate(lengths)])
    lines = figure.axes[0].get_lines()
    assert [line.get_linewidth() for line in lines[:2]] == [0.5, 0.5]
    assert all(y != y for y in lines[2].get_ydata())
