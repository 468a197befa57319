"""The load: `wrk` with one thread and 32 connections, which sends requests as several callers in turn."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from msgspec import Struct

SCRIPT = Path(__file__).with_suffix(".lua")
CONNECTIONS = 32


class Round(Struct, frozen=True):
    """The report of `wrk`: `refused` counts statuses from 400, `broken` connections that failed or timed out."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def require_wrk() -> None:
    """Require that `wrk` is installed.

    Raises:
        ClickException: it is not.

    """
    if shutil.which("wrk") is None:
        raise click.ClickException(
            "wrk, which makes the load, is not installed: try `apt-get install wrk`, or `brew install wrk`."
        )


def load(address: str, method: str, tokens: Sequence[str], paths: Sequence[str], *, seconds: int) -> Round:
    """Send requests for the paths with the tokens for some seconds, each as soon as a connection is free."""
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "tokens"), Path(folder, "paths")
        for file, lines in zip(files, (tokens, paths), strict=True):
            file.write_text("".join(f"{line}\n" for line in lines))
        options = ["--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s", "--timeout", "20s"]
        command = ["wrk", *options, "--script", str(SCRIPT), address, "--", method, *map(str, files)]
        end = subprocess.run(command, capture_output=True, text=True, check=False)
    if end.returncode != 0:
        raise click.ClickException(f"wrk failed: {end.stderr.strip() or end.stdout.strip()}.")
    return msgspec.json.decode(end.stdout.splitlines()[-1], type=Round)
