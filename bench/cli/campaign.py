"""Verbs about what to run: plan, power."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import Json, end_with, given, say
from bench.cli.runs import (
    Alone,
    Config,
    Device,
    Jobs,
    Out,
    Patterns,
    Seed,
    Seeds,
    Settings,
    Tier,
    chosen_seeds,
    lacked,
    overrides,
    refuse_company,
    tell,
)


def plan(
    patterns: Patterns,
    tier: Tier = "cpu",
    budget: Annotated[str | None, typer.Option(help="Time there is: 90m, 24h, 1.5h.")] = None,
    seeds: Seeds = None,
    seed: Seed = None,
    out: Out = Path("results"),
    jobs: Jobs = 1,
    device: Device = "cpu",
    settings: Settings = None,
    config: Config = None,
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Time short runs where no record tells the cost.")
    ] = True,
    alone: Alone = False,
    as_json: Json = False,
) -> None:
    """List missing runs, those first that settle most open claims an hour, with their cost; run nothing else."""
    from bench.campaign.reach import Call
    from bench.campaign.show import lines
    from bench.campaign.survey import survey, to_json
    from bench.execution.budget import read_length
    from bench.execution.plan import check_device, prepare_data
    from bench.execution.plan import plan as planned

    seconds = None if budget is None else read_length(budget) * jobs
    refuse_company(alone, jobs)
    check_device(device)
    bad: list[str] = []
    every = planned(patterns, tier, chosen_seeds(seeds, seed), overrides(patterns, config, settings or []))
    todo = lacked(every, out, device, alone, bad)
    absent = prepare_data(todo, download=False)
    until = math.inf if probe else 0.0
    found = survey(Call(tier, every, todo, jobs, frozenset(absent)), out, device, until, tell)
    if as_json:
        typer.echo(json.dumps(to_json(found, seconds), indent=1))
    for line in () if as_json else lines(found, seconds):
        say(line)
    end_with(bad, found.left_out)


def power(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(help="Ids of claims or experiments; all by default.", metavar="[PATTERN]..."),
    ] = None,
    folders: Annotated[
        list[Path] | None, typer.Option("--records", help="Folder with records; may be given more than once.")
    ] = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Say how many seeds, or which length, would settle each open claim that has records, and the cost."""
    from bench.campaign.cost import Costs
    from bench.campaign.lacking import chosen, lacking, lines, to_json
    from bench.campaign.probe import Probe
    from bench.claim import find_claims
    from bench.identity import is_current
    from bench.record import find
    from bench.verdict import judge_all

    places = given(folders)
    found = find(places)
    records = [record for record in found.records if is_current(record.identity)]
    claims, left_out = find_claims()
    verdicts = chosen(judge_all(claims, records), patterns or [])
    lacks = lacking(verdicts, records, Costs(records, device, Probe(places[0], device, 0.0, tell)))
    if as_json:
        typer.echo(json.dumps(to_json(lacks), indent=1))
    for line in () if as_json else lines(lacks):
        say(line)
    end_with(found.bad, left_out)
