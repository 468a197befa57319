"""What is measured: the project and the ceiling, each with a database of its own and a school in it."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
from alembic import command as alembic
from msgspec import Struct

from mambo.auth.tokens import Claims
from mambo.database.migrations import alembic_config
from mambo.resources import create_token_issuer
from mambo.settings import load_settings
from servers import Server, image_command, served

SCHOOL_SQL = Path(__file__).with_name("school.sql").read_text()
WORLDS, LEARNERS = 8, 200
SECRET = secrets.token_urlsafe(48)


class Size(Struct, frozen=True):
    """How much there is: lessons in each world, and accounts, of which 200 are signed in."""

    lessons: int
    users: int


SMALL = Size(lessons=60, users=LEARNERS)
BIG = Size(lessons=10 * SMALL.lessons, users=1000 * SMALL.users)


class Data(Struct, frozen=True):
    """Whom to ask as, and what for: lessons that all of them have completed, and that none has."""

    tokens: list[str]
    worlds: list[str]
    done: list[str]
    new: list[str]

    def paths(self, template: str) -> list[str]:
        """The template with each id that it asks for."""
        ids = {"{world}": self.worlds, "{lesson}": self.done + self.new, "{done}": self.done, "{new}": self.new}
        name = next((name for name in ids if name in template), None)
        return [template.replace(name, one) for one in ids[name]] if name else [template]


class School(Struct, frozen=True):
    """A server with its data; `forget` deletes the completions since a moment and answers how many they were."""

    name: str
    server: Server
    data: Data
    database: str
    since: datetime
    forget: str
    written: str

    async def reset(self) -> int:
        """Delete the completions that were added since the data was loaded; returns how many."""
        # As a replica, so that our own trigger lets go of what is in the ledger.
        connection = await asyncpg.connect(self.database, server_settings={"session_replication_role": "replica"})
        try:
            forgotten: int = await connection.fetchval(self.forget, self.since)
            await connection.execute(f"VACUUM ANALYZE {self.written}")
        finally:
            await connection.close()
        return forgotten


FORGET_PROJECT = """
    WITH completion AS (DELETE FROM lesson_completion WHERE completed_at > $1 RETURNING 1),
    event AS (DELETE FROM xp_event WHERE at > $1 RETURNING user_id, amount),
    paid AS (SELECT user_id, sum(amount) AS xp FROM event GROUP BY user_id),
    profile AS (
        UPDATE user_profile SET xp = user_profile.xp - paid.xp FROM paid WHERE paid.user_id = user_profile.user_id
    )
    SELECT count(*) FROM completion
"""
FORGET_CEILING = "WITH completion AS (DELETE FROM c_progress WHERE at > $1 RETURNING 1) SELECT count(*) FROM completion"


@contextmanager
def project(postgres: str, folder: Path, name: str, size: Size) -> Iterator[School]:
    """The project as its image runs it, on data of that size."""
    url = asyncio.run(make_database(postgres, name))
    alembic.upgrade(alembic_config(url), "head")
    environ = {
        "MAMBO_ENV": "production",
        "DATABASE_URL": url,
        "SECRET_KEY": SECRET,
        "CORS_ORIGINS": "https://app.example.com",
        "MAMBO_DATA_DIR": str(folder),
    }
    data = asyncio.run(fill(plain(url), size, environ))
    since = datetime.now(UTC)
    with served(image_command(), environ, folder / f"{name}.log") as server:
        yield School(name, server, data, plain(url), since, FORGET_PROJECT, "lesson_completion, xp_event, user_profile")


async def fill(database: str, size: Size, environ: dict[str, str]) -> Data:
    """Load a school, and sign its learners in."""
    connection = await asyncpg.connect(database)
    try:
        numbers = {"worlds": WORLDS, "learners": LEARNERS, "lessons": size.lessons, "users": size.users}
        for name, number in numbers.items():
            await connection.execute("SELECT set_config($1, $2, false)", f"bench.{name}", str(number))
        await connection.execute(SCHOOL_SQL, timeout=600)
        await connection.execute("VACUUM ANALYZE", timeout=600)
        sessions = await connection.fetch("SELECT user_id, id FROM auth_session ORDER BY user_id LIMIT $1", LEARNERS)
        worlds = await connection.fetch("SELECT id FROM world ORDER BY order_index")
        lessons = await connection.fetch(
            """
            SELECT id, EXISTS (SELECT FROM lesson_completion WHERE lesson_id = lesson.id AND user_id = $1) AS is_done
            FROM lesson ORDER BY id
            """,
            sessions[0]["user_id"],
        )
    finally:
        await connection.close()
    access, now = create_token_issuer(load_settings(environ)).access, datetime.now(UTC)
    return Data(
        tokens=[access.issue(Claims(*session), now, now + timedelta(days=1))[0] for session in sessions],
        worlds=[str(world["id"]) for world in worlds],
        done=[str(lesson["id"]) for lesson in lessons if lesson["is_done"]],
        new=[str(lesson["id"]) for lesson in lessons if not lesson["is_done"]],
    )


@contextmanager
def ceiling(postgres: str, folder: Path, file: Path) -> Iterator[School]:
    """The bare server of `ceiling.py`, which loads its own data, of the small size."""
    url = plain(asyncio.run(make_database(postgres, "ceiling")))
    numbers = {"WORLDS": WORLDS, "LESSONS": SMALL.lessons, "USERS": SMALL.users}
    environ = {name: str(number) for name, number in numbers.items()}
    environ |= {"DSN": url, "SECRET": SECRET, "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["uvicorn", f"{file.stem}:app", "--app-dir", str(file.resolve().parent), "--no-access-log"]
    command += ["--loop", "uvloop", "--http", "httptools"]
    with served(command, environ, folder / "ceiling.log") as server:
        tokens, ids = (httpx.get(f"{server.address}/{name}").json() for name in ("tokens", "ids"))
        data = Data(tokens, worlds=ids["worlds"], done=ids["lessons"][::2], new=ids["lessons"][1::2])
        yield School("ceiling", server, data, url, datetime.now(UTC), FORGET_CEILING, "c_progress")


async def make_database(postgres: str, name: str) -> str:
    """An empty database in place of the one of the last measurement; returns its URL for SQLAlchemy."""
    connection = await asyncpg.connect(plain(postgres))
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return postgres.replace("/postgres?", f"/{name}?")


def plain(url: str) -> str:
    """The URL without the name of SQLAlchemy's driver."""
    return url.replace("+asyncpg", "")
