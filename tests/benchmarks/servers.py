"""Starts each server that is measured as a process, and ends it by its id."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import httpx
import msgspec
import psutil
from msgspec import Struct

ROOT = Path(__file__).parents[2]
READY_SECONDS = 30
GRACE_SECONDS = 30
MB = 1_000_000


class Server(Struct, frozen=True):
    """A running server, and the seconds from its start to its first response."""

    address: str
    pid: int
    log: Path
    ready_seconds: float

    def memory_mb(self) -> float:
        """Return its resident memory in MB."""
        return float(psutil.Process(self.pid).memory_info().rss / MB)


@contextmanager
def served(command: Sequence[str], environ: Mapping[str, str], log: Path) -> Iterator[Server]:
    """Run uvicorn on a free port until the block ends; it inherits no environment variables."""
    port = free_port()
    arguments = [sys.executable, "-m", *command, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as file:
        started = time.perf_counter()
        process = subprocess.Popen(
            arguments, env=environ, cwd=log.parent, stdout=file, stderr=file, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until_ready(process, address, log)
            yield Server(address, process.pid, log, time.perf_counter() - started)
        finally:
            end(process)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Return after the first response of the server.

    Raises:
        ClickException: it has ended, or not responded in time.

    """
    until = time.monotonic() + READY_SECONDS
    with httpx.Client(base_url=address) as client:
        while process.poll() is None and time.monotonic() < until:
            try:
                client.get("/health").raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.01)
            else:
                return
    raise click.ClickException(f"{log.stem} does not respond: see {log}.")


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def image_command() -> list[str]:
    """Return the command of the Dockerfile, by which the image runs the project."""
    command = (ROOT / "Dockerfile").read_text().rpartition("\nCMD ")[2].replace("\\\n", "")
    return msgspec.json.decode(command, type=list[str])
