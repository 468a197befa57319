"""`mambo serve` as a process: the first start in an empty folder, every way to stop, and starts that are refused."""

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


# The processes of this file


class Start(NamedTuple):
    """One start of the service, from its first output to its end."""

    printed: list[str]
    admin_json: dict[str, str]
    courses: list[str]
    end: Finished
    left_running: list[psutil.Process]


class TwoStarts(NamedTuple):
    """Two starts with one data directory: the admin deletes a course, SIGTERM, a second start, Ctrl-C."""

    first: Start
    second: Start
    data_dir: Path
    statuses: dict[str, int]
    role: str
    deletion: int


async def start_twice(folder: Path) -> TwoStarts:
    admin_json = folder / "data" / "admin.json"
    async with serve(folder) as served, served.client() as client:
        statuses = {path: (await client.get(path)).status_code for path in ("/health/ready", "/docs", "/redoc")}
        admin = json.loads(admin_json.read_bytes())
        header = await sign_in(client, admin["email"], admin["password"])
        role = (await client.get("/api/users/me", headers=header)).json()["role"]
        worlds = (await client.get("/api/courses/worlds")).json()
        deletion = await client.delete(f"/api/admin/courses/{worlds[0]['id']}", headers=header)
        end = await served.stop(signal.SIGTERM)
        courses = [world["slug"] for world in worlds]
        first = Start(served.printed, admin, courses, end, postgres_of(served.data_dir))
    async with serve(folder) as served, served.client() as client:
        admin = json.loads(admin_json.read_bytes())
        await sign_in(client, admin["email"], admin["password"])
        courses = await course_slugs(client)
        end = await served.stop(signal.SIGINT)
        second = Start(served.printed, admin, courses, end, postgres_of(served.data_dir))
    return TwoStarts(first, second, folder / "data", statuses, role, deletion.status_code)


class Killed(NamedTuple):
    """A start after a kill, both without demo courses."""

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
            end = await again.stop(signal.SIGTERM)
            return Killed(orphans, courses, end, postgres_of(again.data_dir))


class Production(NamedTuple):
    """A start in production, and three requests."""

    printed: list[str]
    users: int
    responses: dict[str, httpx.Response]
    user_id: str
    files: list[str]
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
        end = await served.stop(signal.SIGTERM)
    files = files_in(folder)
    user_id = responses["/api/users/me"].json()["id"]
    return Production(served.printed, users, responses, user_id, files, end)


class Runs(NamedTuple):
    """All processes of this file."""

    starts: TwoStarts
    killed: Killed
    production: Production


@pytest.fixture(scope="module")
async def runs(make_database: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    url: str = await make_database("served_in_production")
    runs = await asyncio.gather(
        start_twice(tmp_path_factory.mktemp("starts")),
        start_after_a_kill(tmp_path_factory.mktemp("killed")),
        run_in_production(tmp_path_factory.mktemp("production"), url),
    )
    return Runs(*runs)


@pytest.fixture(scope="module")
def starts(runs: Runs) -> TwoStarts:
    return runs.starts


@pytest.fixture(scope="module")
def killed(runs: Runs) -> Killed:
    return runs.killed


@pytest.fixture(scope="module")
def production(runs: Runs) -> Production:
    return runs.production


# Two starts in one folder


async def test_the_first_start_prints_urls_and_the_admins_password(starts: TwoStarts) -> None:
    """And the URL of the documentation and the admin's e-mail address; the last line is `ready`."""
    printed = "\n".join(starts.first.printed)

    [(address, documentation)] = re.findall(r"^Mambo (http://\S+) .* (http://\S+)$", printed, re.MULTILINE)
    [(email, password)] = re.findall(r"^Admin (\S+)   password (\S+) ", printed, re.MULTILINE)
    assert documentation == f"{address}/docs"
    assert {"email": email, "password": password} == starts.first.admin_json
    assert starts.first.printed[-1] == "ready"


async def test_the_file_with_the_admins_password_is_readable_by_its_owner_only(starts: TwoStarts) -> None:
    admin_json = starts.data_dir / "admin.json"

    assert stat.S_IMODE(admin_json.stat().st_mode) == 0o600
    assert json.loads(admin_json.read_bytes()).keys() == {"email", "password"}


async def test_after_ready_the_service_and_its_documentation_respond(starts: TwoStarts) -> None:
    assert starts.statuses == {"/health/ready": 200, "/docs": 200, "/redoc": 200}


async def test_the_admins_password_signs_in(starts: TwoStarts) -> None:
    assert starts.role == "admin"


async def test_the_first_start_creates_two_demo_courses(starts: TwoStarts) -> None:
    assert len(starts.first.courses) == 2


async def test_a_deleted_demo_course_is_not_created_again(starts: TwoStarts) -> None:
    assert starts.deletion == 204
    assert starts.second.courses == starts.first.courses[1:]


async def test_the_second_start_keeps_the_admins_password(starts: TwoStarts) -> None:
    assert starts.second.admin_json == starts.first.admin_json
    assert starts.second.admin_json["password"] in "\n".join(starts.second.printed)


@pytest.mark.parametrize(("start", "signal_name"), [(0, "SIGTERM"), (1, "Ctrl-C")])
async def test_a_signal_stops_everything_without_an_error(starts: TwoStarts, start: int, signal_name: str) -> None:
    """The exit code is 0, PostgreSQL has stopped, and the log has only requests."""
    stopped = (starts.first, starts.second)[start]

    assert stopped.end.code == 0, signal_name
    assert stopped.left_running == [], signal_name
    assert not [line for line in stopped.end.err.splitlines() if "[info     ] request " not in line], signal_name


# A start after a kill, without demo courses


async def test_without_demo_there_are_no_courses(killed: Killed) -> None:
    assert killed.courses == []


async def test_a_start_after_a_kill_takes_over_the_database_and_stops_it(killed: Killed) -> None:
    assert len(killed.orphans) == 1
    assert killed.end.code == 0
    assert killed.left_running == []


# Refused starts


class Refused(NamedTuple):
    """A start that must fail: the words that stderr has, and those that it must not have; `{port}` is a port in use."""

    names: tuple[str, ...]
    environ: dict[str, str]
    hides: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


WEAK_KEYS = {
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
INVALID = {
    "a port in use": Refused(("127.0.0.1:{port}", "--port"), {}, options=("--port", "{port}")),
    "a data directory below a file": Refused(("a-file/data", "--data-dir"), {}, options=("--data-dir", "a-file/data")),
    "an unreachable database": Refused(
        ("DATABASE_URL",), {"DATABASE_URL": "postgresql://mambo:horse-staple@127.0.0.1:1/mambo"}, ("horse-staple",)
    ),
    "another kind of database": Refused(
        ("DATABASE_URL",), {"DATABASE_URL": "mysql://mambo:horse-staple@127.0.0.1/mambo"}, ("horse-staple",)
    ),
    "a number that is not one": Refused(("JWT_EXPIRATION_DAYS",), {"JWT_EXPIRATION_DAYS": "abc"}),
    "incomplete credentials of Mux in development": Refused(
        ("MUX_TOKEN_ID", "MUX_WEBHOOK_SECRET"), {"MUX_TOKEN_SECRET": "mux-82"}, ("mux-82",)
    ),
    "an endpoint without a scheme": Refused(
        ("AWS_ENDPOINT_URL",), R2 | {"AWS_ENDPOINT_URL": "r2-83.example"}, ("r2-83", "aws-secret-84")
    ),
    "an environment that does not exist": Refused(("MAMBO_ENV",), {"MAMBO_ENV": "prodution"}),
}
UNSAFE = {
    "no key": Refused(("SECRET_KEY",), PRODUCTION | {"SECRET_KEY": ""}),
    **{name: Refused(("SECRET_KEY",), PRODUCTION | {"SECRET_KEY": key}, (key,)) for name, key in WEAK_KEYS.items()},
    "any origin": Refused(("CORS_ORIGINS",), PRODUCTION | {"CORS_ORIGINS": "*"}),
    "incomplete credentials of Mux": Refused(
        ("MUX_WEBHOOK_SECRET",),
        PRODUCTION | {"MUX_TOKEN_ID": "mux-id-81", "MUX_TOKEN_SECRET": "mux-secret-82"},
        ("mux-id-81", "mux-secret-82"),
    ),
    "incomplete credentials of R2": Refused(
        ("AWS_ENDPOINT_URL", "AWS_BUCKET_NAME", "R2_PUBLIC_DOMAIN"),
        PRODUCTION | {"AWS_ACCESS_KEY_ID": "aws-id-83", "AWS_SECRET_ACCESS_KEY": "aws-secret-84"},
        ("aws-id-83", "aws-secret-84"),
    ),
    "no database": Refused(("DATABASE_URL",), PRODUCTION | {"DATABASE_URL": ""}),
}


class Refusal(NamedTuple):
    """A failed start, and the folder in which it ran."""

    end: Finished
    folder: Path
    port: int


@pytest.fixture(scope="module")
async def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Refusal]:
    """All starts that must fail, at most one per processor at a time."""
    limit = asyncio.Semaphore(os.cpu_count() or 1)

    async def run(refused: Refused, port: int) -> Refusal:
        folder = tmp_path_factory.mktemp("refused")
        (folder / "a-file").touch()
        options = [option.format(port=port) for option in ("--port", "0", *refused.options)]
        async with limit:
            return Refusal(await mambo("serve", *options, folder=folder, environ=refused.environ), folder, port)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        cases = INVALID | UNSAFE
        return dict(zip(cases, await asyncio.gather(*(run(case, port) for case in cases.values())), strict=True))


@pytest.mark.parametrize("case", INVALID)
async def test_an_invalid_setting_is_reported_in_one_sentence(refusals: dict[str, Refusal], case: str) -> None:
    """It names the setting, without passwords, and PostgreSQL has not been started."""
    end, folder, port = refusals[case]

    assert end.code != 0
    assert ONE_SENTENCE.fullmatch(end.err), end.err
    for name in INVALID[case].names:
        assert name.format(port=port) in end.err
    assert not [secret for secret in INVALID[case].hides if secret in end.out + end.err]
    assert not list(folder.rglob("postgres"))


@pytest.mark.parametrize("case", UNSAFE)
async def test_production_refuses_unsafe_settings(refusals: dict[str, Refusal], case: str) -> None:
    """It names the variable without its value, and no file is created."""
    end, folder, _ = refusals[case]
    values = [*UNSAFE[case].hides, PRODUCTION["SECRET_KEY"], "horse-staple"]

    assert end.code != 0
    assert "Traceback" not in end.err
    for name in UNSAFE[case].names:
        assert name in end.err
    assert not [value for value in values if value in end.out + end.err]
    assert files_in(folder) == ["a-file"]


# Production


async def test_production_creates_no_account_and_no_file(production: Production) -> None:
    assert production.users == 0
    assert "Admin" not in "\n".join(production.printed)
    assert production.files == []


async def test_production_stops_without_an_error_on_sigterm(production: Production) -> None:
    assert production.end.code == 0


async def test_production_logs_one_json_line_per_request(production: Production) -> None:
    """The line has the request id of the response, the user, route, status and duration."""
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

    for secret in ("sekrit", "ana-85", "on two since 1986", token, PRODUCTION["SECRET_KEY"]):
        assert secret not in printed
