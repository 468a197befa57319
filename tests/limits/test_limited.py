"""A limited route over HTTP: what whoever reaches the limit is told, and who counts as who."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from litestar import Litestar, get
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from conftest import TurnableClock, check_envelope
from factories import School
from mambo.adapters.counters import Counters
from mambo.limits.rules import PASSWORD, REFRESH, REGISTER, SIGN_IN_ALL
from mambo.limits.service import RateLimiter, enforce_limit
from mambo.web.error_handlers import on_error
from mambo.web.guards import open_to_anyone, requires_user
from mambo.web.principal import Principal, Role
from mambo.web.request_log import RequestMiddleware

MakeLimits = Callable[..., RateLimiter]
THREE = {"LIMIT_REGISTER": "3/hour", "LIMIT_PASSWORD": "3/hour", "LIMIT_REFRESH": "3/hour"}
SPOOFED = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP", "Authorization")


@get("/register", guards=[open_to_anyone], rate_limit=REGISTER)
async def register() -> str:
    return "welcome"


@get("/password", guards=[requires_user], rate_limit=PASSWORD)
async def change_password() -> str:
    return "changed"


@get("/refresh", guards=[requires_user], rate_limit=REFRESH)
async def refresh() -> str:
    return "refreshed"


@get("/all", guards=[open_to_anyone], rate_limit=SIGN_IN_ALL)
async def for_all() -> str:
    return "fine"


class AsToldByHeaders(ASGIMiddleware):
    """Takes the person and the session from headers, as a test says them."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        scope["user"] = None
        if "x-user" in headers:
            user_id, session_id = headers["x-user"], headers.get("x-session", headers["x-user"])
            scope["user"] = Principal(user_id, session_id, Role.USER, is_subscribed=False, timezone="UTC")  # type: ignore[arg-type]
        await next_app(scope, receive, send)


def app_with(limits: RateLimiter) -> Litestar:
    app = Litestar(
        [register, change_password, refresh, for_all],
        middleware=[AsToldByHeaders()],
        exception_handlers={Exception: on_error},
        before_request=partial(enforce_limit, limits),
        openapi_config=None,
        logging_config=None,
    )
    app.asgi_handler = RequestMiddleware(app.asgi_handler, is_production=False)
    return app


@pytest.fixture
def small(make_limits: MakeLimits, counts: Counters) -> Litestar:
    """An app of four routes that may be called three times an hour."""
    return app_with(make_limits(counts, **THREE))


async def ask(app: Litestar, path: str = "/register", *, host: str = "203.0.113.7", **headers: str) -> httpx.Response:
    """Ask from an address."""
    transport = httpx.ASGITransport(app=app, client=(host, 50_000))  # type: ignore[arg-type]
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=sent) as client:
        return await client.get(path)


async def statuses(app: Litestar, hosts: list[str], path: str = "/register", **headers: str) -> list[int]:
    return [(await ask(app, path, host=host, **headers)).status_code for host in hosts]


# What is told


async def test_beyond_the_limit_is_429_with_a_sentence_and_the_headers(small: Litestar, clock: TurnableClock) -> None:
    for _ in range(3):
        await ask(small)
    clock.turn(timedelta(seconds=600))

    refused = await ask(small)

    check_envelope(refused)
    assert refused.status_code == 429
    assert refused.json()["code"] == "too_many"
    assert refused.json()["detail"] == "Too many accounts were made from your network. Try again in 50 minutes."
    assert refused.headers["retry-after"] == "3000"
    assert refused.headers["ratelimit-policy"] == '"register";q=3;w=3600'
    assert refused.headers["ratelimit"] == '"register";r=0;t=3000'


async def test_who_waits_as_long_as_told_passes(small: Litestar, clock: TurnableClock) -> None:
    for _ in range(3):
        await ask(small)
    wait = int((await ask(small)).headers["retry-after"])

    clock.turn(timedelta(seconds=wait - 1))
    too_soon = await ask(small)
    clock.turn(timedelta(seconds=1))

    assert (too_soon.status_code, too_soon.headers["retry-after"]) == (429, "1")
    assert (await ask(small)).status_code == 200


# Who counts as who


async def test_an_ipv4_address_counts_by_itself(small: Litestar) -> None:
    assert await statuses(small, ["203.0.113.7"] * 4 + ["203.0.113.8"]) == [200, 200, 200, 429, 200]


async def test_the_addresses_of_an_ipv6_64_count_as_one(small: Litestar) -> None:
    hosts = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:2::3", "2001:db8:1:2:1:2:3:4", "2001:db8:1:3::1"]

    assert await statuses(small, hosts) == [200, 200, 200, 429, 200]


async def test_an_ipv4_address_in_ipv6_spelling_is_the_same(small: Litestar) -> None:
    """And not one of four billion that count as one."""
    hosts = ["203.0.113.7", "::ffff:203.0.113.7", "::ffff:cb00:7107", "203.0.113.7", "::ffff:203.0.113.8"]

    assert await statuses(small, hosts) == [200, 200, 200, 429, 200]


async def test_who_has_no_address_counts_too(small: Litestar) -> None:
    """As over a Unix socket."""
    assert await statuses(small, [""] * 4) == [200, 200, 200, 429]


@pytest.mark.parametrize("header", SPOOFED)
async def test_no_header_makes_a_caller_count_as_another(small: Litestar, header: str) -> None:
    """Neither one about addresses, nor a token that nobody has looked at."""
    answers = [(await ask(small, **{header: f"198.51.100.{number}"})).status_code for number in range(100)]

    assert answers == [200] * 3 + [429] * 97


async def test_a_limit_per_person_follows_the_person(small: Litestar) -> None:
    ana, bob = str(uuid4()), str(uuid4())

    assert await statuses(small, ["203.0.113.7", "203.0.113.8"] * 2, "/password", X_User=ana) == [200, 200, 200, 429]
    assert await statuses(small, ["203.0.113.7"], "/password", X_User=bob) == [200]


async def test_a_limit_per_session_is_that_sessions(small: Litestar) -> None:
    ana, phone, laptop = str(uuid4()), str(uuid4()), str(uuid4())

    assert await statuses(small, ["203.0.113.7"] * 4, "/refresh", X_User=ana, X_Session=phone) == [200, 200, 200, 429]
    assert await statuses(small, ["203.0.113.7"], "/refresh", X_User=ana, X_Session=laptop) == [200]


async def test_whoever_may_not_call_is_not_counted(small: Litestar) -> None:
    """The guard that says who may comes first."""
    assert await statuses(small, ["203.0.113.7"] * 5, "/password") == [401] * 5


async def test_a_limit_of_all_is_everyones(make_limits: MakeLimits, counts: Counters) -> None:
    app = app_with(make_limits(counts, LIMIT_SIGN_IN_ALL="2/hour"))

    assert await statuses(app, [f"203.0.113.{number}" for number in range(3)], "/all") == [200, 200, 429]


# On one's own machine

LOOPBACK = ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "127.0.0.1"]


async def test_in_development_the_machine_itself_has_no_limit_per_address(
    make_limits: MakeLimits, counts: Counters
) -> None:
    app = app_with(make_limits(counts, lifts_loopback=True, **THREE))

    assert await statuses(app, LOOPBACK) == [200] * 5
    assert await statuses(app, ["203.0.113.7"] * 4) == [200, 200, 200, 429]
    assert await statuses(app, ["127.0.0.1"] * 4, "/password", X_User=str(uuid4())) == [200, 200, 200, 429]


async def test_in_production_the_machine_itself_is_an_address_like_any(small: Litestar) -> None:
    assert await statuses(small, LOOPBACK) == [200, 200, 200, 429, 429]


# Behind a proxy


@asynccontextmanager
async def serving(app: Litestar, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The app behind a real uvicorn, as `mambo serve` sets it up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", **options)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
                yield client
        finally:
            server.should_exit = True
            await running


async def asked_through(client: httpx.AsyncClient, forwarded: list[str]) -> list[int]:
    return [(await client.get("/register", headers={"X-Forwarded-For": chain})).status_code for chain in forwarded]


async def test_without_named_proxies_a_forwarded_address_is_not_believed(small: Litestar) -> None:
    async with serving(small, proxy_headers=False) as client:
        assert await asked_through(client, [f"198.51.100.{n}" for n in range(5)]) == [200, 200, 200, 429, 429]


async def test_the_address_that_a_named_proxy_saw_counts_and_not_what_was_sent_to_it(small: Litestar) -> None:
    """The client writes what it likes at the left; the proxy adds what it saw at the right."""
    async with serving(small, proxy_headers=True, forwarded_allow_ips="127.0.0.1") as client:
        assert await asked_through(client, [f"1.2.3.{n}, 198.51.100.7" for n in range(4)]) == [200, 200, 200, 429]
        assert await asked_through(client, ["198.51.100.8"]) == [200]


async def test_a_learner_begins_ten_videos_a_day(school: School) -> None:
    """Each call counts, whatever becomes of it; another learner has ten of their own."""
    ana, ben = await school.person(), await school.person()
    body = {"lesson_id": str(uuid4())}

    statuses = [(await ana.post("/api/submissions/upload-url", body)).status_code for _ in range(11)]
    others = (await ben.post("/api/submissions/upload-url", body)).status_code

    assert statuses == [503] * 10 + [429]  # this app has no Mux
    assert others == 503
