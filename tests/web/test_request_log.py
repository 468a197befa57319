"""The log has one line per request, with ids and nothing that users send."""

import json
import logging
import re
from time import perf_counter
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Litestar, Response, get
from litestar.background_tasks import BackgroundTask
from litestar.types import Message, Receive, Scope, Send

from factories import School
from mambo.web.request_log import RequestMiddleware, configure_logging

CANARY = "canary7f3a"


def parse_lines(log: str) -> list[dict[str, str]]:
    """Parse the line of each request."""
    found = re.findall(r"^\S+Z \[info     \] request +(.*)$", log, re.MULTILINE)
    return [dict(word.split("=") for word in line.split(" ")) for line in found]


async def test_a_request_is_logged_as_one_line_with_ids(school: School, capfd: pytest.CaptureFixture[str]) -> None:
    ana = await school.person()
    capfd.readouterr()

    response = await ana.get("/api/users/me", headers={"X-Request-Id": "request-1"})

    [line] = parse_lines(capfd.readouterr().err)
    assert response.headers["x-request-id"] == "request-1"
    assert float(line.pop("ms")) > 0
    assert line == {
        "method": "GET",
        "route": "/api/users/me",
        "status": "200",
        "request_id": "request-1",
        "user_id": str(ana.user_id),
    }


async def test_the_logged_time_does_not_include_background_tasks(capfd: pytest.CaptureFixture[str]) -> None:
    """Such as sending an e-mail; here the task takes longer than everything before it."""
    times: list[float] = []

    async def work() -> None:
        times.append(perf_counter())
        sent, started = times
        while perf_counter() - started < started - sent + 0.001:
            pass

    @get("/")
    async def greet() -> Response[str]:
        return Response("hello", background=BackgroundTask(work))

    app = Litestar([greet], openapi_config=None, logging_config=None)
    app.asgi_handler = RequestMiddleware(app.asgi_handler, is_production=False)
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        times.append(perf_counter())
        await client.get("/")

    [line] = parse_lines(capfd.readouterr().err)
    sent, started = times
    assert float(line["ms"]) <= round((started - sent) * 1000, 1)


async def test_an_unknown_path_is_logged_without_its_text(
    client: httpx.AsyncClient, capfd: pytest.CaptureFixture[str]
) -> None:
    await client.get(f"/{CANARY}")

    assert [(line["route"], line["status"]) for line in parse_lines(capfd.readouterr().err)] == [("-", "404")]


async def test_nothing_that_users_send_is_logged(
    school: School,
    client: httpx.AsyncClient,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither bodies, queries, paths, e-mail addresses, passwords, tokens nor headers, valid or not."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    capfd.readouterr()
    ana = await school.person(email=f"{CANARY}@example.com", first_name=CANARY)
    account = {"email": f"new-{CANARY}@example.com", "password": CANARY, "first_name": CANARY, "last_name": CANARY}
    await client.post("/api/auth/register", json=account)
    await client.post("/api/auth/register", json=account)
    await client.post("/api/auth/token", json={"email": account["email"], "password": f"{CANARY}-wrong"})
    await client.get(f"/api/courses/worlds?token={CANARY}", headers={"Authorization": f"Bearer {CANARY}"})
    await ana.patch("/api/users/me", {"first_name": f"{CANARY}\x00"})
    await ana.patch("/api/users/me", {CANARY: 1})

    log = capfd.readouterr().err
    assert len(parse_lines(log)) == 6
    assert CANARY not in log
    assert CANARY not in json.dumps([str(record.msg) for record in caplog.records if record.name.startswith("mambo")])
    assert CANARY not in "".join(record.getMessage() for record in caplog.records if "mambo" in record.name)


def test_production_logs_json_and_development_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Tracebacks have no local variables, because those hold passwords."""
    root = logging.getLogger()
    before = root.handlers[:]
    try:
        for is_production in (True, False):
            configure_logging(is_production=is_production)
            try:
                password = CANARY
                _ = len(password) // 0
            except ZeroDivisionError:
                logging.getLogger("mambo.test").exception("it failed")
    finally:
        root.handlers[:] = before

    production, *development = capsys.readouterr().err.splitlines()
    line = json.loads(production)
    assert (line["event"], line["level"]) == ("it failed", "error")
    assert "ZeroDivisionError" in line["exception"]
    assert "it failed" in development[0]
    assert CANARY not in production + "".join(development)


async def test_production_logs_requests_as_json_on_standard_error(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Health checks are not logged, and an invalid request id is replaced."""

    async def teapot(scope: Scope, _receive: Receive, send: Send) -> None:
        scope["path_template"] = scope["path"]
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    middleware = RequestMiddleware(teapot, is_production=True)

    for path, given in (("/health", "request-1"), ("/tea", "request-2"), ("/tea", "no plain token")):
        await middleware(scope_of(path, given), receive_nothing, discard)

    first, second = map(json.loads, capfdbinary.readouterr().err.splitlines())
    assert first.keys() == {"event", "level", "timestamp", "method", "route", "status", "ms", "user_id", "request_id"}
    assert (first["route"], first["status"], first["request_id"]) == ("/tea", 418, "request-2")
    assert first["timestamp"].endswith("Z")
    assert UUID(second["request_id"]).version == 7


def scope_of(path: str, request_id: str) -> Any:
    headers = [(b"x-request-id", request_id.encode())]
    return {"type": "http", "method": "GET", "path": path, "headers": headers, "state": {}}


async def receive_nothing() -> Any:
    raise AssertionError


async def discard(_message: Message) -> None: ...
