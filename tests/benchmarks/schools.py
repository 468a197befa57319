"""The schools that are measured: the project's and the ceiling's, each a server with a database of its own."""

import asyncio
import re
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
from mambo.web.principal import Role
from routes import Caller, Ids, Request
from servers import Server, image_command, served

SCHOOL_SQL = Path(__file__).with_name("school.sql").read_text()
WORLDS, LEARNERS = 8, 200
SECRET = secrets.token_urlsafe(48)


class Size(Struct, frozen=True):
    """The size of a school: worlds, how many of them are rich, lessons in each, accounts, and learners signed in."""

    lessons: int
    users: int
    worlds: int = WORLDS
    rich: int = 2
    learners: int = LEARNERS


SMALL = Size(lessons=60, users=LEARNERS)
BIG = Size(lessons=10 * SMALL.lessons, users=1000 * SMALL.users)


class Data(Struct, frozen=True, kw_only=True):
    """Access tokens and ids of a school; `tokens` are those of learners. See `routes.Ids`."""

    tokens: list[str]
    instructor_tokens: list[str] = []
    admin_tokens: list[str] = []
    worlds: list[str]
    done: list[str]
    new: list[str]
    rich_worlds: list[str] = []
    rich_lessons: list[str] = []
    users: list[str] = []

    def tokens_of(self, caller: Caller) -> list[str]:
        return {
            Caller.ANYONE: [],
            Caller.LEARNER: self.tokens,
            Caller.INSTRUCTOR: self.instructor_tokens,
            Caller.ADMIN: self.admin_tokens,
        }[caller]

    def paths(self, request: Request) -> list[str]:
        """Return the path of the request with each of its ids."""
        ids = {
            Ids.NONE: [""],
            Ids.WORLDS: self.worlds,
            Ids.LESSONS: self.done + self.new,
            Ids.DONE: self.done,
            Ids.NEW: self.new,
            Ids.RICH_WORLDS: self.rich_worlds,
            Ids.RICH_LESSONS: self.rich_lessons,
            Ids.USERS: self.users,
        }[request.ids]
        return [re.sub(r"{\w+}", id_, request.route) + request.query for id_ in ids]


class School(Struct, frozen=True):
    """A server with its data; `forget` deletes the completions since `since`, and returns how many they were."""

    name: str
    server: Server
    data: Data
    database: str
    since: datetime
    forget: str
    written: str

    async def reset(self) -> int:
        """Delete the completions that were added since the data was loaded, and return how many they were."""
        # As a replica, because a trigger refuses to delete from the ledger.
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
    """Serve the project as its image runs it, with a school of this size."""
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
    """Load a school, and issue tokens for its learners and staff."""
    connection = await asyncpg.connect(database)
    try:
        for name in size.__struct_fields__:
            await connection.execute("SELECT set_config($1, $2, false)", f"bench.{name}", str(getattr(size, name)))
        await connection.execute(SCHOOL_SQL, timeout=600)
        await connection.execute("VACUUM ANALYZE", timeout=600)
        sessions = await connection.fetch(
            """
            SELECT role, user_id, auth_session.id FROM auth_session JOIN users ON users.id = user_id
            WHERE device = 'bench' ORDER BY user_id, auth_session.id
            """
        )
        worlds = await connection.fetch("SELECT id, slug LIKE 'rich-%' AS is_rich FROM world ORDER BY order_index")
        lessons = await connection.fetch(
            """
            SELECT lesson.id, slug LIKE 'rich-%' AS is_rich,
                EXISTS (SELECT FROM lesson_completion WHERE lesson_id = lesson.id AND user_id = $1) AS is_done
            FROM lesson JOIN world ON world.id = world_id ORDER BY lesson.id
            """,
            sessions[0]["user_id"],
        )
    finally:
        await connection.close()
    access, now = create_token_issuer(load_settings(environ)).access, datetime.now(UTC)
    tokens: dict[str, list[str]] = {role: [] for role in Role}
    for session in sessions:
        claims = Claims(session["user_id"], session["id"])
        tokens[session["role"]].append(access.issue(claims, now, now + timedelta(days=1))[0])
    return Data(
        tokens=tokens[Role.USER],
        instructor_tokens=tokens[Role.INSTRUCTOR],
        admin_tokens=tokens[Role.ADMIN],
        worlds=[str(world["id"]) for world in worlds if not world["is_rich"]],
        done=[str(lesson["id"]) for lesson in lessons if lesson["is_done"] and not lesson["is_rich"]],
        new=[str(lesson["id"]) for lesson in lessons if not lesson["is_done"] and not lesson["is_rich"]],
        rich_worlds=[str(world["id"]) for world in worlds if world["is_rich"]],
        rich_lessons=[str(lesson["id"]) for lesson in lessons if lesson["is_rich"]],
        users=[str(session["user_id"]) for session in sessions if session["role"] == Role.USER],
    )


@contextmanager
def ceiling(postgres: str, folder: Path, file: Path) -> Iterator[School]:
    """Serve the bare server of `ceiling.py`, which loads its own data, of the small size."""
    url = plain(asyncio.run(make_database(postgres, "ceiling")))
    numbers = {"WORLDS": WORLDS, "LESSONS": SMALL.lessons, "USERS": SMALL.users}
    environ = {name: str(number) for name, number in numbers.items()}
    environ |= {"DSN": url, "SECRET": SECRET, "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["uvicorn", f"{file.stem}:app", "--app-dir", str(file.resolve().parent), "--no-access-log"]
    command += ["--loop", "uvloop", "--http", "httptools"]
    with served(command, environ, folder / "ceiling.log") as server:
        tokens, ids = (httpx.get(f"{server.address}/{name}").json() for name in ("tokens", "ids"))
        data = Data(tokens=tokens, worlds=ids["worlds"], done=ids["lessons"][::2], new=ids["lessons"][1::2])
        yield School("ceiling", server, data, url, datetime.now(UTC), FORGET_CEILING, "c_progress")


async def make_database(postgres: str, name: str) -> str:
    """Create an empty database in place of that of the last run, and return its URL for SQLAlchemy."""
    connection = await asyncpg.connect(plain(postgres))
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return postgres.replace("/postgres?", f"/{name}?")


def plain(url: str) -> str:
    """Return the URL without the name of SQLAlchemy's driver."""
    return url.replace("+asyncpg", "")
