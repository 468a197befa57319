"""`mambo serve` as a process: from an empty folder to a school, through every way to end, and when it refuses."""

import asyncio
import json
import os
import re
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest

from support.processes import (
    ONE_SENTENCE,
    PRODUCTION,
    Finished,
    files_in,
    mambo,
    postgres_of,
    query,
    serve,
    sign_in,
)


async def course_slugs(client: httpx.AsyncClient) -> list[str]:
    return [world["slug"] for world in (await client.get("/api/courses/worlds")).json()]


# What is run


class Run(NamedTuple):
    """One run of a school, and what was seen of it."""

    printed: list[str]
    admin_json: dict[str, str]
    courses: list[str]
    end: Finished
    left_running: list[psutil.Process]


class FirstDay(NamedTuple):
    """Two runs on one data directory: the admin deletes a course, SIGTERM, a second start, Ctrl-C."""

    first: Run
    second: Run
    data_dir: Path
    statuses: dict[str, int]
    role: str
    deletion: int


async def live_first_day(folder: Path) -> FirstDay:
    admin_json = folder / "data" / "admin.json"
    async with serve(folder) as served, served.client() as client:
        statuses = {path: (await client.get(path)).status_code for path in ("/health/ready", "/docs", "/redoc")}
        admin = json.loads(admin_json.read_bytes())
        header = await sign_in(client, admin["email"], admin["password"])
        role = (await client.get("/api/users/me", headers=header)).json()["role"]
        worlds = (await client.get("/api/courses/worlds")).json()
        deletion = await client.delete(f"/api/admin/courses/{worlds[0]['id']}", headers=header)
        ending = await served.stop(signal.SIGTERM)
        courses = [world["slug"] for world in worlds]
        first = Run(served.printed, admin, courses, ending, postgres_of(served.data_dir))
    async with serve(folder) as served, served.client() as client:
        admin = json.loads(admin_json.read_bytes())
        await sign_in(client, admin["email"], admin["password"])
        courses = await course_slugs(client)
        ending = await served.stop(signal.SIGINT)
        second = Run(served.printed, admin, courses, ending, postgres_of(served.data_dir))
    return FirstDay(first, second, folder / "data", statuses, role, deletion.status_code)


class Killed(NamedTuple):
    """A start after a run that was killed, both without demo courses."""

    orphans: list[psutil.Process]
    courses: list[str]
    end: Finished
    left_running: list[psutil.Process]


async def start_after_a_kill(folder: Path) -> Killed:
    async with serve(folder, "--no-demo") as served:
        os.kill(served.process.pid, signal.SIGKILL)
        await served.process.wait()
        orphans = postgres_of(served.data_dir)
        async with serve(folder, "--no-demo") as again, again.client() as client:
            courses = await course_slugs(client)
            ending = await again.stop(signal.SIGTERM)
            return Killed(orphans, courses, ending, postgres_of(again.data_dir))


class Production(NamedTuple):
    """A run in production, and three requests that were made of it."""

    printed: list[str]
    users: int
    responses: dict[str, httpx.Response]
    user_id: str
    made: list[str]
    end: Finished


async def run_in_production(folder: Path, url: str) -> Production:
    environ = PRODUCTION | {"DATABASE_URL": url.replace("postgresql+asyncpg:", "postgresql:")}
    account = {"email": "ana-85@example.com", "password": "on two since 1986", "first_name": "Ana", "last_name": "Ruiz"}
    async with serve(folder, environ=environ) as served, served.client() as client:
        [(users,)] = await query(url, "SELECT count(*) FROM users")
        registration = await client.post("/api/auth/register", json=account)
        header = {"Authorization": f"Bearer {registration.json()['access_token']}"}
        responses = {
            "/api/auth/register": registration,
            "/api/courses/worlds": await client.get("/api/courses/worlds?token=sekrit"),
            "/api/users/me": await client.get("/api/users/me", headers=header),
        }
        ending = await served.stop(signal.SIGTERM)
    made = files_in(folder)
    user_id = responses["/api/users/me"].json()["id"]
    return Production(served.printed, users, responses, user_id, made, ending)


class Runs(NamedTuple):
    """Every server that this file starts."""

    first_day: FirstDay
    killed: Killed
    production: Production


@pytest.fixture(scope="module")
async def runs(make_database: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    url: str = await make_database("served_in_production")
    at_once = await asyncio.gather(
        live_first_day(tmp_path_factory.mktemp("first_day")),
        start_after_a_kill(tmp_path_factory.mktemp("killed")),
        run_in_production(tmp_path_factory.mktemp("production"), url),
    )
    return Runs(*at_once)


@pytest.fixture(scope="module")
def first_day(runs: Runs) -> FirstDay:
    return runs.first_day


@pytest.fixture(scope="module")
def killed(runs: Runs) -> Killed:
    return runs.killed


@pytest.fixture(scope="module")
def production(runs: Runs) -> Production:
    return runs.production


# The first day of a school


async def test_a_start_prints_the_way_in_and_then_that_it_is_ready(first_day: FirstDay) -> None:
    """Address, documentation, the admin's e-mail and password; `ready` is the last line."""
    printed = "\n".join(first_day.first.printed)

    [(address, documentation)] = re.findall(r"^Mambo (http://\S+) .* (http://\S+)$", printed, re.MULTILINE)
    [(email, password)] = re.findall(r"^Admin (\S+)   password (\S+) ", printed, re.MULTILINE)
    assert documentation == f"{address}/docs"
    assert {"email": email, "password": password} == first_day.first.admin_json
    assert first_day.first.printed[-1] == "ready"


async def test_the_admins_password_is_kept_where_only_the_owner_reads_it(first_day: FirstDay) -> None:
    admin_json = first_day.data_dir / "admin.json"

    assert stat.S_IMODE(admin_json.stat().st_mode) == 0o600
    assert json.loads(admin_json.read_bytes()).keys() == {"email", "password"}


async def test_once_ready_the_service_and_its_documentation_answer(first_day: FirstDay) -> None:
    assert first_day.statuses == {"/health/ready": 200, "/docs": 200, "/redoc": 200}


async def test_the_kept_password_signs_in_an_admin(first_day: FirstDay) -> None:
    assert first_day.role == "admin"


async def test_a_new_school_shows_two_demo_courses(first_day: FirstDay) -> None:
    assert len(first_day.first.courses) == 2


async def test_a_deleted_demo_course_stays_deleted(first_day: FirstDay) -> None:
    assert first_day.deletion == 204
    assert first_day.second.courses == first_day.first.courses[1:]


async def test_a_second_start_keeps_the_admins_password(first_day: FirstDay) -> None:
    assert first_day.second.admin_json == first_day.first.admin_json
    assert first_day.second.admin_json["password"] in "\n".join(first_day.second.printed)


@pytest.mark.parametrize(("run", "how"), [(0, "SIGTERM"), (1, "Ctrl-C")])
async def test_a_stop_ends_everything_and_is_no_error(first_day: FirstDay, run: int, how: str) -> None:
    """Exit code 0, no PostgreSQL left on the data directory, nothing but requests in the log."""
    ended = (first_day.first, first_day.second)[run]

    assert ended.end.code == 0, how
    assert ended.left_running == [], how
    assert not [line for line in ended.end.err.splitlines() if "[info     ] request " not in line], how


# After a kill, and without demo courses


async def test_without_demo_the_school_has_no_courses(killed: Killed) -> None:
    assert killed.courses == []


async def test_a_start_after_a_kill_takes_over_the_database_and_stops_it_in_the_end(killed: Killed) -> None:
    assert len(killed.orphans) == 1
    assert killed.end.code == 0
    assert killed.left_running == []


# Refusing


class Refused(NamedTuple):
    """A start that must fail: what stderr names, and what it must not show; `{port}` is a taken one."""

    names: tuple[str, ...]
    environ: dict[str, str]
    hides: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


GUESSED_KEYS = {
    "a short key": "Qm7vTz1xRk",
    "a key that looks like a default": "change-me-q8ZbW5uTgN1mYhPd7LsEaC4iRfQ9xB",
    "a repetitive key": "dance" * 10,
}
R2 = {
    "AWS_ACCESS_KEY_ID": "aws-id-83",
    "AWS_SECRET_ACCESS_KEY": "aws-secret-84",
    "AWS_ENDPOINT_URL": "https://r2.example",
    "AWS_BUCKET_NAME": "pictures",
    "R2_PUBLIC_DOMAIN": "cdn.example",
}
MISTAKES = {
    "a taken port": Refused(("127.0.0.1:{port}", "--port"), {}, options=("--port", "{port}")),
    "a data directory below a file": Refused(("a-file/data", "--data-dir"), {}, options=("--data-dir", "a-file/data")),
    "a database that does not answer": Refused(
        ("DATABASE_URL",), {"DATABASE_URL": "postgresql://mambo:horse-staple@127.0.0.1:1/mambo"}, ("horse-staple",)
    ),
    "another kind of database": Refused(
        ("DATABASE_URL",), {"DATABASE_URL": "mysql://mambo:horse-staple@127.0.0.1/mambo"}, ("horse-staple",)
    ),
    "a number that is none": Refused(("JWT_EXPIRATION_DAYS",), {"JWT_EXPIRATION_DAYS": "abc"}),
    "half of Mux in development": Refused(
        ("MUX_TOKEN_ID", "MUX_WEBHOOK_SECRET"), {"MUX_TOKEN_SECRET": "mux-82"}, ("mux-82",)
    ),
    "a storage without a scheme": Refused(
        ("AWS_ENDPOINT_URL",), R2 | {"AWS_ENDPOINT_URL": "r2-83.example"}, ("r2-83", "aws-secret-84")
    ),
    "an environment that does not exist": Refused(("MAMBO_ENV",), {"MAMBO_ENV": "prodution"}),
}
UNSAFE = {
    "no key": Refused(("SECRET_KEY",), PRODUCTION | {"SECRET_KEY": ""}),
    **{name: Refused(("SECRET_KEY",), PRODUCTION | {"SECRET_KEY": key}, (key,)) for name, key in GUESSED_KEYS.items()},
    "any origin": Refused(("CORS_ORIGINS",), PRODUCTION | {"CORS_ORIGINS": "*"}),
    "half of Mux": Refused(
        ("MUX_WEBHOOK_SECRET",),
        PRODUCTION | {"MUX_TOKEN_ID": "mux-id-81", "MUX_TOKEN_SECRET": "mux-secret-82"},
        ("mux-id-81", "mux-secret-82"),
    ),
    "half of R2": Refused(
        ("AWS_ENDPOINT_URL", "AWS_BUCKET_NAME", "R2_PUBLIC_DOMAIN"),
        PRODUCTION | {"AWS_ACCESS_KEY_ID": "aws-id-83", "AWS_SECRET_ACCESS_KEY": "aws-secret-84"},
        ("aws-id-83", "aws-secret-84"),
    ),
    "no database": Refused(("DATABASE_URL",), PRODUCTION | {"DATABASE_URL": ""}),
}


class Refusal(NamedTuple):
    """How a start failed, and the folder in which it left what it had made."""

    end: Finished
    folder: Path
    port: int


@pytest.fixture(scope="module")
async def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Refusal]:
    """Every start that must fail, as many at a time as there are processors."""
    turns = asyncio.Semaphore(os.cpu_count() or 1)

    async def attempt(refused: Refused, port: int) -> Refusal:
        folder = tmp_path_factory.mktemp("refused")
        (folder / "a-file").touch()
        options = [option.format(port=port) for option in ("--port", "0", *refused.options)]
        async with turns:
            return Refusal(await mambo("serve", *options, folder=folder, environ=refused.environ), folder, port)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        cases = MISTAKES | UNSAFE
        return dict(zip(cases, await asyncio.gather(*(attempt(case, port) for case in cases.values())), strict=True))


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_is_told_in_one_sentence(refusals: dict[str, Refusal], mistake: str) -> None:
    """It names the culprit and hides passwords; the start fails at once, and before a PostgreSQL is made."""
    end, folder, port = refusals[mistake]

    assert end.code != 0
    assert ONE_SENTENCE.fullmatch(end.err), end.err
    for name in MISTAKES[mistake].names:
        assert name.format(port=port) in end.err
    assert not [secret for secret in MISTAKES[mistake].hides if secret in end.out + end.err]
    assert not list(folder.rglob("postgres"))


@pytest.mark.parametrize("flaw", UNSAFE)
async def test_production_refuses_what_is_unsafe(refusals: dict[str, Refusal], flaw: str) -> None:
    """It names the variable and never shows a value; nothing is connected, nothing is made."""
    end, folder, _ = refusals[flaw]
    values = [*UNSAFE[flaw].hides, PRODUCTION["SECRET_KEY"], "horse-staple"]

    assert end.code != 0
    assert "Traceback" not in end.err
    for name in UNSAFE[flaw].names:
        assert name in end.err
    assert not [value for value in values if value in end.out + end.err]
    assert files_in(folder) == ["a-file"]


# Production


async def test_production_makes_no_account_and_no_file(production: Production) -> None:
    assert production.users == 0
    assert "Admin" not in "\n".join(production.printed)
    assert production.made == []


async def test_production_ends_cleanly_on_sigterm(production: Production) -> None:
    assert production.end.code == 0


async def test_production_logs_one_json_line_per_request(production: Production) -> None:
    """It joins the response by its request id, and says who asked for which route, how it went and how long it took."""
    lines = [json.loads(line) for line in production.end.err.splitlines()]
    requests = {line["request_id"]: line for line in lines if line["event"] == "request"}

    assert len(lines) == len(requests) == len(production.responses)
    for route, response in production.responses.items():
        line = requests[response.headers["x-request-id"]]
        assert (line["method"], line["route"]) == (response.request.method, route)
        assert line["status"] == response.status_code
        assert 0 < line["ms"] < 30_000
        assert line["user_id"] == (production.user_id if route == "/api/users/me" else None)


async def test_production_logs_neither_queries_nor_bodies_nor_tokens(production: Production) -> None:
    printed = "\n".join([*production.printed, production.end.out, production.end.err])
    token = production.responses["/api/auth/register"].json()["access_token"]

    for private in ("sekrit", "ana-85", "on two since 1986", token, PRODUCTION["SECRET_KEY"]):
        assert private not in printed
