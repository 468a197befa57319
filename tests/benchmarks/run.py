"""Measures requests: the hot ones beside the bare server of `ceiling.py`, all others beside `GET /api/auth/me`.

    uv run python tests/benchmarks/run.py [--help]

Absolute figures say something about the machine, ratios about the project.
"""

import asyncio
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from mambo.cli.server import stopped_by_signals
from mambo.devkit.postgres import embedded_postgres
from measuring import Comparison, Figures, Side, Statements, compare, count_statements, measure
from routes import AUTH_ME, HOT, OTHERS, Request
from schools import BIG, SMALL, ceiling, project
from servers import ROOT
from wrk import require_wrk

FOLDER = ROOT / ".mambo" / "benchmarks"
console = Console(width=None if sys.stdout.isatty() else 120)
say = console.print


class Startup(Struct, frozen=True):
    """Seconds from the start of the process to its first response, and its resident memory."""

    ready_seconds: float
    idle_mb: float
    requests: int
    loaded_mb: float


class Report(Struct):
    """All figures, as `--json` writes them; `ratios` are those to the ceiling, `shares` those of `GET /api/auth/me`."""

    machine: str
    seconds: int
    rounds: int
    goals: dict[str, float | None]
    ratios: list[Comparison] = []
    shares: list[Comparison] = []
    statements: list[Statements] = []
    growth: list[Comparison] = []
    startup: Startup | None = None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("words", nargs=-1)
@click.option(
    "--ceiling",
    "ceiling_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=ROOT.parent / "shared" / "bench" / "ceiling.py",
    help="Where ceiling.py is. [default: ../shared/bench/ceiling.py beside the project]",
)
@click.option("--seconds", default=4, show_default=True, type=click.IntRange(1), help="Length of a round.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Rounds; medians are reported.")
@click.option("--big", is_flag=True, help="Repeat it with ten times the lessons and a thousand times the accounts.")
@click.option("--startup", is_flag=True, help="Measure the time to the first response, and the memory.")
@click.option(
    "--soak", default=1, show_default=True, type=click.IntRange(1), help="With --startup: seconds of each request."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures to FILE.")
def main(
    words: tuple[str, ...],
    ceiling_file: Path,
    seconds: int,
    rounds: int,
    big: bool,
    startup: bool,
    soak: int,
    json_file: Path | None,
) -> None:
    """Measure one worker with 32 connections that send requests as 200 learners in turn.

    The hot requests are compared with the bare server of ceiling.py, and a request for every other GET route with
    GET /api/auth/me. Requests that are compared run in turn. All of them take a quarter of an hour.

    WORDS select the requests whose names contain one of them, such as "comments" or "admin/".
    """
    require_wrk()
    hot, others = select(HOT, words), select(OTHERS, words)
    requests = [*hot, *others]
    if not requests:
        raise click.UsageError(
            f"No request has such a name: there are {'; '.join(one.name for one in (*HOT, *OTHERS))}."
        )
    FOLDER.mkdir(parents=True, exist_ok=True)
    with stopped_by_signals(), ExitStack() as stack:
        say(f"Starting PostgreSQL and the servers; their logs are in {FOLDER}")
        postgres = stack.enter_context(embedded_postgres(FOLDER))
        school = stack.enter_context(project(postgres, FOLDER, "project", SMALL))
        bare = stack.enter_context(ceiling(postgres, FOLDER, ceiling_file)) if hot and ceiling_file.exists() else None
        if hot and bare is None:
            say(f"{ceiling_file} does not exist, so there are no ratios to it: name it with --ceiling.")
        report = Report(machine(), seconds, rounds, {request.name: request.goal for request in requests})
        report.ratios = [
            compare_aloud(Side(school, request), Side(bare, request) if bare else None, seconds, rounds)
            for request in hot
        ]
        show_ratios("ceiling", "project", report.ratios, report.goals)
        report.shares = [
            compare_aloud(Side(school, request), Side(school, AUTH_ME), seconds, rounds) for request in others
        ]
        show_ratios("auth/me", "request", report.shares, report.goals)
        report.statements = asyncio.run(count_statements(school, requests, FOLDER / "postgres" / "log"))
        show_statements(report.statements)
        if big:
            say(f"Loading {BIG.users} accounts and {BIG.worlds} x {BIG.lessons} lessons")
            grown = stack.enter_context(project(postgres, FOLDER, "project_big", BIG))
            report.growth = [
                compare_aloud(Side(grown, request), Side(school, request), seconds, rounds) for request in requests
            ]
            show_ratios("project", "with more data", report.growth)
        if startup:
            report.startup = start(postgres, requests, rounds, soak)
            show_startup(report.startup)
    if json_file:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def select(requests: Sequence[Request], words: Sequence[str]) -> list[Request]:
    return [request for request in requests if not words or any(word in request.name for word in words)]


def machine() -> str:
    return f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {platform.system()} {platform.machine()}"


def compare_aloud(measured: Side, against: Side | None, seconds: int, rounds: int) -> Comparison:
    """Compare two requests, and print the result."""
    with console.status(measured.request.name):
        one = compare(measured, against, seconds=seconds, rounds=rounds)
    ratio = f", ratio {one.ratio:.2f}" if one.ratio else ""
    say(f"{one.request}: {one.measured.per_second:.0f} a second{ratio}")
    return one


def start(postgres: str, requests: Sequence[Request], rounds: int, soak: int) -> Startup:
    """Start the project some times, send it all requests that can be repeated for `soak` seconds each: the medians."""
    repeatable = [request for request in requests if not request.writes]
    starts = []
    for _ in range(rounds):
        with console.status("starting"), project(postgres, FOLDER, "project_started", SMALL) as school:
            idle = school.server.memory_mb()
            count = sum(measure(Side(school, request), seconds=soak).requests for request in repeatable)
            starts.append((school.server.ready_seconds, idle, count, school.server.memory_mb()))
    ready, idle, count, loaded = map(statistics.median, zip(*starts, strict=True))
    return Startup(ready, idle, int(count), loaded)


def show_ratios(
    against: str,
    measured: str,
    comparisons: Sequence[Comparison],
    goals: Mapping[str, float | None] | None = None,
) -> None:
    if not comparisons:
        return
    columns = ["request", against, "p50 ms", "p99 ms", measured, "p50 ms", "p99 ms", "ratio"]
    rows = [(one.request, *cells(one.against), *cells(one.measured), number(one.ratio, 2)) for one in comparisons]
    if goals is not None:
        columns.append("goal")
        rows = [(*row, number(goals[row[0]], 2)) for row in rows]
    show("Requests a second", columns, rows)


def show_statements(counted: Sequence[Statements]) -> None:
    columns = ["request", "queries", "round trips", "queries again", "round trips again"]
    rows = [msgspec.structs.astuple(one) for one in counted]
    show("Sent to PostgreSQL by the first request of a caller, and by the next within a second", columns, rows)


def show_startup(one: Startup) -> None:
    show(
        "Start and memory of the project",
        ["seconds to the first response", "MB idle", "requests", "MB after them"],
        [(number(one.ready_seconds, 2), number(one.idle_mb, 0), one.requests, number(one.loaded_mb, 0))],
    )


def cells(one: Figures | None) -> tuple[str, ...]:
    return (number(one.per_second, 0), number(one.p50_ms, 1), number(one.p99_ms, 1)) if one else ("", "", "")


def number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; the first column is text, the others are numbers."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    for row in rows:
        table.add_row(*map(str, row))
    say(table)


if __name__ == "__main__":
    main()
