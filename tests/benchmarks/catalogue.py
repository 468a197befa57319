"""Measures a large catalogue: what an edit costs other requests and the next reader, a cold start, and memory.

    uv run python tests/benchmarks/catalogue.py [--help]

Latencies on a busy machine include its own noise. So every table shows the same requests without an edit beside them.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

import asyncpg
import click
import msgspec
from msgspec import Struct
from rich.console import Console

from mambo.devkit.postgres import embedded_postgres
from run import number, show
from schools import School, Size, project
from servers import ROOT

FOLDER = ROOT / ".mambo" / "benchmarks"
SIZES = ("8x60", "100x100", "500x100")
PEOPLE = 20
CLIENTS = 4  # that send the other requests
PAUSE_SECONDS = 0.02  # of each of them, between two requests
QUIET_SECONDS = 0.5  # between two edits
console = Console(width=None if sys.stdout.isatty() else 120)


class Latencies(Struct, frozen=True):
    """Latencies of some requests in milliseconds."""

    count: int
    p50: float
    p99: float
    maximum: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        if not seconds:
            return cls(0, 0.0, 0.0, 0.0)
        ordered = sorted(1000 * one for one in seconds)
        return cls(len(ordered), statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))], ordered[-1])


class Figures(Struct, frozen=True):
    """What was measured at one size; latencies in milliseconds, memory in MB."""

    size: str
    cold_list: float
    cold_lessons: float
    others_at_cold_start: Latencies
    others_quiet: Latencies
    others_at_edit: Latencies
    edit: Latencies
    read_quiet: Latencies
    read_after_edit: Latencies
    progress: Latencies
    idle_mb: float
    listed_mb: float
    all_read_mb: float


class Client:
    """One connection to the server, which is kept open."""

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

    def close(self) -> None:
        self._writer.close()


class Others:
    """Clients that send cheap requests all the time; `seen` holds (start, seconds) of each."""

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
        """Latencies of the requests that overlapped one of these spans of time, or of those that overlapped none."""
        return Latencies.of(
            [
                seconds
                for start, seconds in self.seen
                if any(start < end and begin < start + seconds for begin, end in spans) is is_inside
            ]
        )

    async def _send(self, client: Client, turn: int) -> None:
        while self._is_running:
            path = self._paths[turn % len(self._paths)]
            started = time.perf_counter()
            self.seen.append((started, await client.request("GET", path)))
            turn += 1
            await asyncio.sleep(PAUSE_SECONDS)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sizes", nargs=-1)
@click.option("--edits", default=40, show_default=True, type=click.IntRange(1), help="How many edits to measure.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
def main(sizes: tuple[str, ...], edits: int, json_file: Path | None) -> None:
    """Measure one worker with SIZES, each COURSESxLESSONS. [default: 8x60 100x100 500x100]."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = []
    with ExitStack() as stack:
        postgres = stack.enter_context(embedded_postgres(FOLDER))
        for name in sizes or SIZES:
            courses, lessons = map(int, name.split("x"))
            size = Size(worlds=courses, lessons=lessons, learners=PEOPLE, users=PEOPLE)
            with (
                console.status(f"{name}: loading and measuring"),
                project(postgres, FOLDER, "catalogue", size) as school,
            ):
                found.append(asyncio.run(measure(name, school, edits)))
    show_figures(found)
    if json_file:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


async def measure(name: str, school: School, edits: int) -> Figures:
    """Measure a server that has just been started."""
    data, address = school.data, school.server.address
    lessons = data.done + data.new
    connection = await asyncpg.connect(school.database)
    # One of the learners edits the courses, and is no longer measured as a learner.
    await connection.execute(
        "UPDATE users SET role = 'admin' WHERE id = (SELECT user_id FROM auth_session ORDER BY user_id LIMIT 1)"
    )
    world_of = {str(id_): str(world_id) for id_, world_id in await connection.fetch("SELECT id, world_id FROM lesson")}
    await connection.close()
    async with AsyncExitStack() as stack:
        tokens = iter(data.tokens)
        clients = [await Client.open(address, next(tokens)) for _ in range(2 + CLIENTS)]
        for client in clients:
            stack.callback(client.close)
        admin, learner, *rest = clients

        idle_mb = school.server.memory_mb()
        for client in clients:
            await client.request("GET", "/api/auth/me")
        cold = Others(rest, ["/api/auth/me", "/health"])
        async with cold.running():
            begin = time.perf_counter()
            cold_list = await learner.request("GET", "/api/courses/worlds")
            listed_mb = school.server.memory_mb()
            cold_lessons = await learner.request("GET", f"/api/courses/worlds/{data.worlds[0]}/lessons")
            end = time.perf_counter()

        others = Others(rest, ["/api/auth/me", "/health", f"/api/courses/worlds/{data.worlds[-1]}/lessons"])
        for path in (*others._paths, f"/api/courses/worlds/{data.worlds[0]}/lessons"):  # noqa: SLF001 - our own
            await learner.request("GET", path)
        spans, edited, read, read_quiet, progress = [], [], [], [], []
        async with others.running():
            for turn in range(edits):
                await asyncio.sleep(QUIET_SECONDS)
                lesson = lessons[turn * 7 % len(lessons)]
                page = f"/api/courses/worlds/{world_of[lesson]}/lessons"
                await learner.request("GET", page)
                read_quiet.append(await learner.request("GET", page))
                started = time.perf_counter()
                edited.append(
                    await admin.request("PATCH", f"/api/admin/lessons/{lesson}", b'{"title": "Edited %d"}' % turn)
                )
                read.append(await learner.request("GET", page))
                spans.append((started, time.perf_counter()))
                progress.append(await learner.request("GET", "/api/progress/me"))

        for world in data.worlds:
            await learner.request("GET", f"/api/courses/worlds/{world}/lessons")
        return Figures(
            size=name,
            cold_list=1000 * cold_list,
            cold_lessons=1000 * cold_lessons,
            others_at_cold_start=cold.latencies([(begin, end)]),
            others_quiet=others.latencies(spans, is_inside=False),
            others_at_edit=others.latencies(spans),
            edit=Latencies.of(edited),
            read_quiet=Latencies.of(read_quiet),
            read_after_edit=Latencies.of(read),
            progress=Latencies.of(progress),
            idle_mb=idle_mb,
            listed_mb=listed_mb,
            all_read_mb=school.server.memory_mb(),
        )


def show_figures(found: Sequence[Figures]) -> None:
    columns = ["size", "requests", "count", "p50 ms", "p99 ms", "max ms"]
    kinds = {
        "other requests, without an edit": "others_quiet",
        "other requests, during an edit": "others_at_edit",
        "the edit": "edit",
        "list of lessons, without an edit": "read_quiet",
        "list of lessons, right after an edit": "read_after_edit",
        "progress/me": "progress",
        "other requests, during a cold start": "others_at_cold_start",
    }
    rows: list[tuple[object, ...]] = []
    for one in found:
        for label, field in kinds.items():
            seen: Latencies = getattr(one, field)
            rows.append((one.size, label, seen.count, *(number(ms, 1) for ms in (seen.p50, seen.p99, seen.maximum))))
    show("Latency", columns, rows)
    show(
        "First requests of a worker, and its memory",
        ["size", "courses ms", "lessons ms", "MB idle", "MB with the list", "MB with every lesson"],
        [
            (one.size, *(number(ms, 0) for ms in (one.cold_list, one.cold_lessons)))
            + tuple(number(mb, 0) for mb in (one.idle_mb, one.listed_mb, one.all_read_mb))
            for one in found
        ],
    )


if __name__ == "__main__":
    main()
