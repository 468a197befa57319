"""Starts what is measured, each a process of its own, and ends it by its id."""

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
    """A server that answers, and how long it took to."""

    address: str
    pid: int
    log: Path
    ready_seconds: float

    def memory_mb(self) -> float:
        """The memory it resides in."""
        return float(psutil.Process(self.pid).memory_info().rss / MB)


@contextmanager
def served(command: Sequence[str], environ: Mapping[str, str], log: Path) -> Iterator[Server]:
    """Run uvicorn on a free port, with nothing of this process's environment, until it is not needed any more."""
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
    """Return once it answers."""
    until = time.monotonic() + READY_SECONDS
    with httpx.Client(base_url=address) as client:
        while process.poll() is None and time.monotonic() < until:
            try:
                client.get("/health").raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.01)
            else:
                return
    raise click.ClickException(f"{log.stem} does not answer: {log} says why.")


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def image_command() -> list[str]:
    """How the image runs the project: the Dockerfile's own command."""
    command = (ROOT / "Dockerfile").read_text().rpartition("\nCMD ")[2].replace("\\\n", "")
    return msgspec.json.decode(command, type=list[str])
