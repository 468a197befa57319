"""Measures a large catalogue: what an edit costs other requests and the next reader, a cold start, and memory.

    uv run python tests/benchmarks/catalogue.py [--help]

Latencies on a busy machine include its own noise, so the same requests are shown beside an edit and without one. The
CPU time of the server does not depend on what else the machine does.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

import asyncpg
import click
import msgspec
import psutil
from msgspec import Struct

from mambo.cli.server import stopped_by_signals
from mambo.devkit.postgres import embedded_postgres
from run import FOLDER, console, number, show
from schools import School, Size, project

SIZES = ("8x60", "100x100", "500x100")
PEOPLE = 20
CLIENTS = 4  # that send the other requests
PAUSE_SECONDS = 0.02  # of each of them, between two requests
QUIET_SECONDS = 0.5  # between two edits


class Latencies(Struct, frozen=True):
    """Latencies of some requests in milliseconds."""

    count: int
    p50: float
    p99: float
    maximum: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        ordered = sorted(1000 * one for one in seconds) or [0.0]
        p99 = ordered[int(0.99 * (len(ordered) - 1))]
        return cls(len(seconds), statistics.median(ordered), p99, ordered[-1])


class Figures(Struct, frozen=True):
    """What was measured at one size: latencies by the name of the requests, and memory in MB."""

    size: str
    latencies: dict[str, Latencies]
    cpu_ms_of_an_edit: float
    idle_mb: float
    listed_mb: float
    all_read_mb: float


class Client:
    """One connection to the server, which stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self._reader, self._writer, self._token = reader, writer, token

    @classmethod
    async def open(cls, address: str, token: str) -> Self:
        host, _, port = address.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port)), token)

    async def request(self, method: str, path: str, body: bytes = b"") -> float:
        """Send a request, read the whole response, and return the seconds that it took.

        Raises:
            ClickException: the response is not a success.

        """
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        started = time.perf_counter()
        self._writer.write(head.encode() + body)
        status, *headers = (await self._reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in headers if line.lower().startswith(b"content-length"))
        text = await self._reader.readexactly(length)
        seconds = time.perf_counter() - started
        if b" 200 " not in status:
            raise click.ClickException(f"{method} {path}: {status.decode()} {text[:200].decode()}")
        return seconds

    async def get(self, path: str) -> float:
        return await self.request("GET", path)

    def close(self) -> None:
        self._writer.close()


class Others:
    """Clients that send cheap requests all the time; `seen` holds the start and the seconds of each."""

    def __init__(self, clients: Sequence[Client], paths: Sequence[str]) -> None:
        self.seen: list[tuple[float, float]] = []
        self._clients, self._paths = clients, paths
        self._is_running = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for turn, client in enumerate(self._clients):
                group.create_task(self._send(client, turn))
            try:
                yield
            finally:
                self._is_running = False

    def latencies(self, spans: Sequence[tuple[float, float]], *, is_inside: bool = True) -> Latencies:
        """Return latencies of the requests that overlapped one of these spans of time, or of those that did not."""
        return Latencies.of(
            [
                seconds
                for start, seconds in self.seen
                if any(start < end and begin < start + seconds for begin, end in spans) is is_inside
            ]
        )

    async def _send(self, client: Client, turn: int) -> None:
        while self._is_running:
            started = time.perf_counter()
            self.seen.append((started, await client.get(self._paths[turn % len(self._paths)])))
            turn += 1
            await asyncio.sleep(PAUSE_SECONDS)


class Measurement:
    """One server that has just been started, an admin and a learner, and clients for the other requests."""

    def __init__(self, school: School, admin: Client, learner: Client, rest: Sequence[Client]) -> None:
        self.server, self.data = psutil.Process(school.server.pid), school.data
        self.memory_mb = school.server.memory_mb
        self.admin, self.learner, self.rest = admin, learner, rest
        self.found: dict[str, Latencies] = {}

    async def run(self, name: str, lessons: Sequence[tuple[str, str]], edits: int) -> Figures:
        """Return all figures; `lessons` are ids with those of their courses."""
        idle_mb = self.memory_mb()
        for client in (self.admin, self.learner, *self.rest):
            await client.get("/api/auth/me")
        listed_mb = await self._start_cold()
        cpu_ms = await self._edit_alone(lessons, edits)
        await self._edit_beside_others(lessons, edits)
        for world in self.data.worlds:
            await self.learner.get(lessons_of(world))
        return Figures(name, self.found, cpu_ms, idle_mb, listed_mb, self.memory_mb())

    async def _start_cold(self) -> float:
        """Measure the first requests, and return the memory in MB once the list of courses is there."""
        others = Others(self.rest, ["/api/auth/me", "/health"])
        async with others.running():
            begin = time.perf_counter()
            first_list = await self.learner.get("/api/courses/worlds")
            listed_mb = self.memory_mb()
            first_lessons = await self.learner.get(lessons_of(self.data.worlds[0]))
            end = time.perf_counter()
        self.found["the first list of courses"] = Latencies.of([first_list])
        self.found["the first list of lessons"] = Latencies.of([first_lessons])
        self.found["other requests, during these"] = others.latencies([(begin, end)])
        return listed_mb

    async def _edit_alone(self, lessons: Sequence[tuple[str, str]], edits: int) -> float:
        """Return the server's CPU milliseconds for an edit and the list of lessons after it."""
        await self._edit(*lessons[0])
        before = self.server.cpu_times()
        for _ in range(edits):
            await self._edit(*lessons[0])
        after = self.server.cpu_times()
        return 1000 * (after.user - before.user + after.system - before.system) / edits

    async def _edit_beside_others(self, lessons: Sequence[tuple[str, str]], edits: int) -> None:
        paths = ["/api/auth/me", "/health", lessons_of(self.data.worlds[-1])]
        for path in paths:
            await self.learner.get(path)
        others, spans = Others(self.rest, paths), []
        quiet, edited, read, progress = [], [], [], []
        async with others.running():
            for turn in range(edits):
                lesson, world = lessons[turn * 7 % len(lessons)]
                await asyncio.sleep(QUIET_SECONDS)
                await self.learner.get(lessons_of(world))
                quiet.append(await self.learner.get(lessons_of(world)))
                begin = time.perf_counter()
                edit_seconds, read_seconds = await self._edit(lesson, world)
                spans.append((begin, time.perf_counter()))
                edited.append(edit_seconds)
                read.append(read_seconds)
                progress.append(await self.learner.get("/api/progress/me"))
        self.found["other requests, without an edit"] = others.latencies(spans, is_inside=False)
        self.found["other requests, during an edit"] = others.latencies(spans)
        self.found["the edit"] = Latencies.of(edited)
        self.found["list of lessons, without an edit"] = Latencies.of(quiet)
        self.found["list of lessons, right after an edit"] = Latencies.of(read)
        self.found["progress/me"] = Latencies.of(progress)

    async def _edit(self, lesson: str, world: str) -> tuple[float, float]:
        """Edit a lesson, read the list of lessons, and return the seconds of each."""
        body = msgspec.json.encode({"title": f"Edited at {time.time()}"})
        return await self.admin.request("PATCH", f"/api/admin/lessons/{lesson}", body), await self.learner.get(
            lessons_of(world)
        )


def lessons_of(world: str) -> str:
    return f"/api/courses/worlds/{world}/lessons"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sizes", nargs=-1)
@click.option("--edits", default=40, show_default=True, type=click.IntRange(1), help="How many edits to measure.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
def main(sizes: tuple[str, ...], edits: int, json_file: Path | None) -> None:
    """Measure one worker with schools of SIZES, each COURSESxLESSONS [default: 8x60 100x100 500x100]."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = []
    with stopped_by_signals(), ExitStack() as stack:
        postgres = stack.enter_context(embedded_postgres(FOLDER))
        for name in sizes or SIZES:
            worlds, lessons = map(int, name.split("x"))
            size = Size(worlds=worlds, lessons=lessons, rich=0, learners=PEOPLE, users=PEOPLE)
            with console.status(name), project(postgres, FOLDER, "catalogue", size) as school:
                found.append(asyncio.run(measure(name, school, edits)))
    show_figures(found)
    if json_file:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


async def measure(name: str, school: School, edits: int) -> Figures:
    connection = await asyncpg.connect(school.database)
    lessons = [(str(id_), str(world)) for id_, world in await connection.fetch("SELECT id, world_id FROM lesson")]
    await connection.close()
    async with AsyncExitStack() as stack:
        tokens = [school.data.admin_tokens[0], *school.data.tokens[: 1 + CLIENTS]]
        clients = [await Client.open(school.server.address, token) for token in tokens]
        for client in clients:
            stack.callback(client.close)
        return await Measurement(school, clients[0], clients[1], clients[2:]).run(name, lessons, edits)


def show_figures(found: Sequence[Figures]) -> None:
    rows = [
        (one.size, name, seen.count, *(number(ms, 1) for ms in (seen.p50, seen.p99, seen.maximum)))
        for one in found
        for name, seen in one.latencies.items()
    ]
    show("Latency", ["size", "requests", "count", "p50 ms", "p99 ms", "max ms"], rows)
    columns = ["size", "CPU ms of an edit and a list", "MB idle", "MB with the list", "MB with every lesson"]
    figures = [(one.cpu_ms_of_an_edit, one.idle_mb, one.listed_mb, one.all_read_mb) for one in found]
    rows = [(one.size, *(number(figure, 0) for figure in row)) for one, row in zip(found, figures, strict=True)]
    show("CPU time and memory of the worker", columns, rows)


if __name__ == "__main__":
    main()
