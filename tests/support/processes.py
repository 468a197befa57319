"""Run the `mambo` command as a process, and read its output, files and database."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import httpx
import psutil
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

MAMBO = Path(sys.executable).with_name("mambo")
PATIENCE_SECONDS = 40
PRODUCTION = {
    "MAMBO_ENV": "production",
    "DATABASE_URL": "postgresql://mambo:horse-staple@127.0.0.1:1/mambo",
    "SECRET_KEY": "vJ3rXo0kq8ZbW5uTgN1mYhPd7LsEaC4iRfQ9xB2",
    "CORS_ORIGINS": "https://app.mambo.example",
}
ONE_SENTENCE = re.compile(r"Error: [A-Z](?:[^.\n]|\.(?! ))*\.\n")


class Finished(NamedTuple):
    """The end of a command; `seconds` since its start, or since its signal."""

    code: int
    out: str
    err: str
    seconds: float


class Served:
    """A `mambo serve` that has printed `ready`."""

    def __init__(
        self, process: asyncio.subprocess.Process, data_dir: Path, printed: list[str], err: asyncio.Task[bytes]
    ) -> None:
        self.process, self.data_dir, self.printed, self.err = process, data_dir, printed, err
        [self.address] = re.findall(r"^Mambo (http://127\.0\.0\.1:\d+) ", "\n".join(printed), re.MULTILINE)

    def client(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.address, timeout=30, **options)

    async def stop(self, number: signal.Signals) -> Finished:
        """Send a signal; a SIGINT goes to the whole process group, as Ctrl-C does in a terminal."""
        if number is signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return await self.finish()

    async def finish(self) -> Finished:
        started = perf_counter()
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, err = await asyncio.gather(self.process.stdout.read(), self.err)
            code = await self.process.wait()
        return Finished(code, out.decode(), err.decode(), perf_counter() - started)


async def start(arguments: tuple[str, ...], folder: Path, environ: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start the command in a folder, without the environment of the tests."""
    return await asyncio.create_subprocess_exec(
        MAMBO,
        *arguments,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


async def mambo(*arguments: str, folder: Path, environ: Mapping[str, str] | None = None) -> Finished:
    """Run the command, and wait for its end."""
    started = perf_counter()
    process = await start(arguments, folder, environ or {})
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, err = await process.communicate()
    finally:
        await end(process)
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode(), perf_counter() - started)


@asynccontextmanager
async def serve(folder: Path, *options: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Served]:
    """Run `mambo serve` in a folder until the block ends."""
    data_dir = folder / "data"
    arguments = ("serve", "--port", "0", "--data-dir", str(data_dir), *options)
    process = await start(arguments, folder, environ or {})
    assert process.stdout is not None
    assert process.stderr is not None
    err = asyncio.create_task(process.stderr.read())
    try:
        printed = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in process.stdout:
                printed.append(line.decode().rstrip("\n"))
                if printed[-1] == "ready":
                    break
            else:
                pytest.fail(f"mambo serve ended before it was ready: {printed} {(await err).decode()}")
        yield Served(process, data_dir, printed, err)
    finally:
        await end(process)
        for postgres in postgres_of(data_dir):
            postgres.terminate()
        await asyncio.gather(err, return_exceptions=True)


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process and its children."""
    if process.returncode is not None:
        return
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
    except (psutil.NoSuchProcess, ProcessLookupError):  # it has ended, and asyncio has not noticed yet
        children = []
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), 10)
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    await process.wait()


def postgres_of(data_dir: Path) -> list[psutil.Process]:
    """Return the PostgreSQL servers with a data directory."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "postgres" and any(str(data_dir) in word for word in process.info["cmdline"] or ())
    ]


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement on a new connection, and return its rows."""
    engine = create_async_engine(url, poolclass=sa.NullPool)
    async with engine.connect() as connection:
        rows = (await connection.execute(sa.text(statement))).all()
    await engine.dispose()
    return [tuple(row) for row in rows]


async def sign_in(client: httpx.AsyncClient, email: str, password: str) -> dict[str, str]:
    """Sign in, and return the header with the token."""
    response = await client.post("/api/auth/token", json={"email": email, "password": password})
    assert response.status_code == 200, response.text
    return {"Authorization": f"Bearer {response.json()['access_token']}"}


async def call_every_worker(served: Served, *, workers: int) -> tuple[set[int], set[str]]:
    """Get the courses over new connections until this number of processes has responded.

    Returns their process ids, and the distinct bodies.
    """
    served_by: set[int] = set()
    bodies: set[str] = set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(served_by) < workers:
            async with served.client() as client:
                requests = [client.get("/api/courses/worlds") for _ in range(10)]
                bodies |= {response.text for response in await asyncio.gather(*requests)}
                served_by |= connected_workers(served)
    return served_by, bodies


def connected_workers(served: Served) -> set[int]:
    """Return the process ids of the workers that have a connection to a client."""
    port = int(served.address.rpartition(":")[2])
    return {
        worker.pid
        for worker in psutil.Process(served.process.pid).children(recursive=True)
        for connection in worker.net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == port
    }
