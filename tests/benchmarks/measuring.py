"""Measures requests: how many a second, side by side, and how many statements each sends to the database."""

import asyncio
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import click
import httpx
from msgspec import Struct

from schools import School
from wrk import Round, load

WARM_UP_SECONDS = 1
FORGOTTEN_SECONDS = 1.1  # the project remembers for a second who is behind a session
ASKED = 5
LOGGED = re.compile(r"LOG:  duration: [0-9.]+ ms  (?:bind [^:]+|statement): (.*)")
NO_QUERY = re.compile(r"(BEGIN|COMMIT|ROLLBACK)\b|;?$")  # the latter asks whether the connection still lives


class Request(Struct, frozen=True):
    """What is asked, and how near to the ceiling it shall come."""

    name: str
    method: str
    path: str
    goal: float
    is_signed_in: bool = True

    @property
    def writes(self) -> bool:
        return "{new}" in self.path


REQUESTS = (
    Request("worlds, anonymous", "GET", "/api/courses/worlds", 0.45, is_signed_in=False),
    Request("auth/me", "GET", "/api/auth/me", 0.75),
    Request("worlds", "GET", "/api/courses/worlds", 0.75),
    Request("worlds/{id}/lessons", "GET", "/api/courses/worlds/{world}/lessons", 0.75),
    Request("lessons/{id}", "GET", "/api/courses/lessons/{lesson}", 0.75),
    Request("complete, again", "POST", "/api/courses/lessons/{done}/complete", 0.50),
    Request("complete, first", "POST", "/api/courses/lessons/{new}/complete", 0.40),
)


class Figures(Struct, frozen=True):
    """The medians of some rounds."""

    per_second: float
    p50_ms: float
    p99_ms: float


class Comparison(Struct, frozen=True):
    """A request to one school, and in turns to another; the ratio is the median of the rounds' ratios."""

    request: str
    measured: Figures
    against: Figures | None
    ratio: float | None


class Statements(Struct, frozen=True):
    """What one request sends: queries, and round trips, which also begin, end and check; asked first, and again."""

    request: str
    queries: int
    round_trips: int
    queries_again: int
    round_trips_again: int


def compare(request: Request, school: School, against: School | None, *, seconds: int, rounds: int) -> Comparison:
    """Measure a request in turns."""
    schools = [against, school] if against else [school]
    for one in schools:
        look(one, request)
        measure(one, request, seconds=WARM_UP_SECONDS)
    turns = [[measure(one, request, seconds=seconds) for one in schools] for _ in range(rounds)]
    ratios = [mine.per_second / theirs.per_second for theirs, mine in turns] if against else []
    return Comparison(
        request=request.name,
        measured=medians([turn[-1] for turn in turns]),
        against=medians([turn[0] for turn in turns]) if against else None,
        ratio=statistics.median(ratios) if against else None,
    )


def look(school: School, request: Request) -> None:
    """Ask once, and see that the answer is what it should be."""
    data = school.data
    headers = bearer(data.tokens[0]) if request.is_signed_in else {}
    answer = httpx.request(request.method, school.server.address + data.paths(request.path)[0], headers=headers)
    if answer.status_code != httpx.codes.OK or not answer.json():
        raise click.ClickException(f"{school.name} answers {answer.status_code} to {request.name}: {answer.text}")


def measure(school: School, request: Request, *, seconds: int) -> Round:
    """One round; what it wrote is deleted before and after.

    Raises:
        ClickException: an answer was no success, or a lesson was completed a second time.

    """
    data = school.data
    if request.writes:
        asyncio.run(school.reset())
    tokens = data.tokens if request.is_signed_in else []
    seen = load(school.server.address, request.method, tokens, data.paths(request.path), seconds=seconds)
    if seen.requests == 0 or seen.refused or seen.broken:
        raise click.ClickException(
            f"{school.name} failed {seen.refused + seen.broken} of {seen.requests} times at {request.name}: "
            f"{school.server.log} says why."
        )
    if request.writes and (written := asyncio.run(school.reset())) < seen.requests:
        raise click.ClickException(
            f"{school.name} answered {seen.requests} first completions and stored {written}: "
            "with fewer --seconds no lesson comes twice."
        )
    return seen


def medians(rounds: Sequence[Round]) -> Figures:
    return Figures(
        per_second=statistics.median(one.per_second for one in rounds),
        p50_ms=statistics.median(one.p50_ms for one in rounds),
        p99_ms=statistics.median(one.p99_ms for one in rounds),
    )


async def count_statements(school: School, requests: Sequence[Request], log: Path) -> list[Statements]:
    """Let PostgreSQL log each statement, whoever sends it, and count those of single requests.

    Several learners ask in turn, each for two things, and what is counted most often counts: now and then something
    else runs in the background.
    """
    connection = await asyncpg.connect(school.database)
    try:
        await connection.execute("ALTER SYSTEM SET log_min_duration_statement = 0")
        await connection.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(FORGOTTEN_SECONDS)
        counted = [count(school, request, log, first=ASKED * n) for n, request in enumerate(requests)]
        await school.reset()
    finally:
        await connection.execute("ALTER SYSTEM RESET log_min_duration_statement")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
    return counted


def count(school: School, request: Request, log: Path, *, first: int) -> Statements:
    data = school.data
    paths = data.paths(request.path) * 2
    seen = []
    with httpx.Client(base_url=school.server.address) as client:
        for token in data.tokens[first : first + ASKED]:
            client.headers = httpx.Headers(bearer(token) if request.is_signed_in else {})
            seen.append(sum((statements_of(client, request.method, path, log) for path in paths[:2]), ()))
    return Statements(request.name, *statistics.mode(seen))


def statements_of(client: httpx.Client, method: str, path: str, log: Path) -> tuple[int, int]:
    """The queries and the round trips of one request."""
    read = log.stat().st_size
    client.request(method, path).raise_for_status()
    time.sleep(0.05)  # something may follow the answer
    with log.open() as file:
        file.seek(read)
        sent = LOGGED.findall(file.read())
    return sum(not NO_QUERY.match(statement) for statement in sent), len(sent)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
