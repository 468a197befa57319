"""The server process of `mambo serve`: its socket, uvicorn, and how it stops."""

import os
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import ChangeReload, Multiprocess


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Open the listening socket, before anything else is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        raise click.ClickException(
            f"Cannot listen on {host}:{port} ({error.strerror}): choose another port with --port."
        ) from None
    listener.set_inheritable(True)
    with listener:
        yield listener


def run(listener: socket.socket, *, workers: int, reload: bool) -> None:
    """Run uvicorn until it is stopped; exit with its code if it cannot start."""
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        "mambo.app:create_server_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        reload=reload,
        reload_dirs=[str(Path(__file__).parents[1])] if reload else None,
        log_config=None,
        access_log=False,
        server_header=False,
        # A proxy's header with the client's address is read only if the operator names the proxies.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        # Longer than clients and proxies keep idle connections, so that none is closed while they send a request.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=25,
    )
    server = uvicorn.Server(config)
    if reload:
        ChangeReload(config, target=server.run, sockets=[listener]).run()
    elif workers > 1:
        supervisor = Multiprocess(config, sockets=[listener])
        supervisor.run()
        if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
            sys.exit(STARTUP_FAILURE)
    else:
        server.run(sockets=[listener])
        if not server.started:
            sys.exit(STARTUP_FAILURE)


def announce_ready(address: str) -> None:
    """Print `ready` once the API responds; a thread waits for that."""
    url = f"{local_address(address)}/health/ready"
    pause = threading.Event()

    def watch() -> None:
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
                    click.echo("ready")
                    return
            except OSError:
                pause.wait(0.1)

    threading.Thread(target=watch, daemon=True).start()


def local_address(address: str) -> str:
    """Return the address by which this machine reaches a server that listens on all addresses."""
    return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Leave the block through its `finally` clauses on SIGTERM, as on Ctrl-C."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    except KeyboardInterrupt:
        click.echo("stopped")
