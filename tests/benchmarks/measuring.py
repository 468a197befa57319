"""Measures requests: throughput and latency of two requests in turn, and the statements that a request sends."""

import asyncio
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import click
import httpx
from msgspec import Struct

from routes import Request
from schools import School
from wrk import Round, load

WARM_UP_SECONDS = 1
FORGOTTEN_SECONDS = 1.1  # the project caches the principal of a session for a second
COUNTED = 5  # callers whose statements are counted
LOGGED = re.compile(r"LOG:  duration: [0-9.]+ ms  (?:bind [^:]+|statement): (.*)")
NO_QUERY = re.compile(r"(BEGIN|COMMIT|ROLLBACK)\b|;?$")  # the latter checks that a connection is alive


class Side(Struct, frozen=True):
    """A request to one of the servers."""

    school: School
    request: Request


class Figures(Struct, frozen=True):
    """The medians of some rounds."""

    per_second: float
    p50_ms: float
    p99_ms: float


class Comparison(Struct, frozen=True):
    """A request measured in turn with another; the ratio is the median of the ratios of the rounds."""

    request: str
    measured: Figures
    against: Figures | None
    ratio: float | None


class Statements(Struct, frozen=True):
    """What one request sends to PostgreSQL: queries, and round trips, which include BEGIN, COMMIT and checks.

    The latter two numbers are those of the next request within a second.
    """

    request: str
    queries: int
    round_trips: int
    queries_again: int
    round_trips_again: int


def compare(measured: Side, against: Side | None, *, seconds: int, rounds: int) -> Comparison:
    """Measure two requests in turn, or one alone.

    Raises:
        ClickException: a response is empty or no success.

    """
    sides = [against, measured] if against else [measured]
    for side in sides:
        check(side)
        measure(side, seconds=WARM_UP_SECONDS)
    turns = [[measure(side, seconds=seconds) for side in sides] for _ in range(rounds)]
    ratios = [mine.per_second / other.per_second for other, mine in turns] if against else []
    return Comparison(
        request=measured.request.name,
        measured=medians([turn[-1] for turn in turns]),
        against=medians([turn[0] for turn in turns]) if against else None,
        ratio=statistics.median(ratios) if against else None,
    )


def check(side: Side) -> None:
    """Send the request once, and check that the response is a success and not empty.

    Raises:
        ClickException: it is not.

    """
    school, request = side.school, side.request
    path, tokens = school.data.paths(request)[0], school.data.tokens_of(request.caller)
    response = httpx.request(request.method, school.server.address + path, headers=bearer(tokens[0]) if tokens else {})
    if response.status_code != httpx.codes.OK or is_empty(response.json()):
        raise click.ClickException(
            f"{school.name} returned {response.status_code} to {request.name}: {response.text[:200]}"
        )


def is_empty(body: Any) -> bool:
    return not (body.get("items", body) if isinstance(body, dict) else body)


def measure(side: Side, *, seconds: int) -> Round:
    """Run one round; what it writes is deleted before and after.

    Raises:
        ClickException: a response was no success, or a lesson was completed a second time.

    """
    school, request = side.school, side.request
    data = school.data
    if request.writes:
        asyncio.run(school.reset())
    tokens, paths = data.tokens_of(request.caller), data.paths(request)
    result = load(school.server.address, request.method, tokens, paths, seconds=seconds)
    if result.requests == 0 or result.refused or result.broken:
        raise click.ClickException(
            f"{school.name} failed {result.refused + result.broken} of {result.requests} times at {request.name}: "
            f"see {school.server.log}."
        )
    if request.writes and (written := asyncio.run(school.reset())) < result.requests:
        raise click.ClickException(
            f"{school.name} returned {result.requests} first completions and stored {written}: "
            "use fewer --seconds, so that no lesson is completed twice."
        )
    return result


def medians(rounds: Sequence[Round]) -> Figures:
    return Figures(
        per_second=statistics.median(one.per_second for one in rounds),
        p50_ms=statistics.median(one.p50_ms for one in rounds),
        p99_ms=statistics.median(one.p99_ms for one in rounds),
    )


async def count_statements(school: School, requests: Sequence[Request], log: Path) -> list[Statements]:
    """Count the statements of single requests in PostgreSQL's log.

    Some callers send each request twice, and the most frequent counts are returned, because now and then a statement
    of the background is between them.
    """
    connection = await asyncpg.connect(school.database)
    try:
        await connection.execute("ALTER SYSTEM SET log_min_duration_statement = 0")
        await connection.execute("SELECT pg_reload_conf()")
        counted = []
        for request in requests:
            await asyncio.sleep(FORGOTTEN_SECONDS)
            counted.append(count(school, request, log))
        await school.reset()
    finally:
        await connection.execute("ALTER SYSTEM RESET log_min_duration_statement")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
    return counted


def count(school: School, request: Request, log: Path) -> Statements:
    paths = school.data.paths(request) * 2
    seen = []
    with httpx.Client(base_url=school.server.address) as client:
        for token in (school.data.tokens_of(request.caller) or [""] * COUNTED)[:COUNTED]:
            client.headers = httpx.Headers(bearer(token) if token else {})
            seen.append(sum((statements_of(client, request.method, path, log) for path in paths[:2]), ()))
    return Statements(request.name, *statistics.mode(seen))


def statements_of(client: httpx.Client, method: str, path: str, log: Path) -> tuple[int, int]:
    """Return the numbers of queries and of round trips of one request."""
    end = log.stat().st_size
    client.request(method, path).raise_for_status()
    time.sleep(0.05)  # a statement may follow the response
    with log.open() as file:
        file.seek(end)
        sent = LOGGED.findall(file.read())
    return sum(not NO_QUERY.match(statement) for statement in sent), len(sent)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
