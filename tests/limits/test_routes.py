"""Routes with a rate limit over HTTP: the response beyond the limit, and what is counted per caller."""

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

MakeLimiter = Callable[..., RateLimiter]
THREE = {"LIMIT_REGISTER": "3/hour", "LIMIT_PASSWORD": "3/hour", "LIMIT_REFRESH": "3/hour"}
SPOOFED_HEADERS = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP", "Authorization")


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
async def limited_for_all() -> str:
    return "fine"


class AuthenticationByHeaders(ASGIMiddleware):
    """Takes the user and the session from headers of the test."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        scope["user"] = None
        if "x-user" in headers:
            user_id, session_id = headers["x-user"], headers.get("x-session", headers["x-user"])
            scope["user"] = Principal(user_id, session_id, Role.USER, is_subscribed=False, timezone="UTC")  # type: ignore[arg-type]
        await next_app(scope, receive, send)


def create_limited_app(limiter: RateLimiter) -> Litestar:
    app = Litestar(
        [register, change_password, refresh, limited_for_all],
        middleware=[AuthenticationByHeaders()],
        exception_handlers={Exception: on_error},
        before_request=partial(enforce_limit, limiter),
        openapi_config=None,
        logging_config=None,
    )
    app.asgi_handler = RequestMiddleware(app.asgi_handler, is_production=False)
    return app


@pytest.fixture
def limited_app(make_limiter: MakeLimiter, counters: Counters) -> Litestar:
    """An app with four routes, three of them limited to three calls an hour."""
    return create_limited_app(make_limiter(counters, **THREE))


async def call(app: Litestar, path: str = "/register", *, host: str = "203.0.113.7", **headers: str) -> httpx.Response:
    """Call a route from an IP address; further arguments are headers."""
    transport = httpx.ASGITransport(app=app, client=(host, 50_000))  # type: ignore[arg-type]
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=sent) as client:
        return await client.get(path)


async def statuses(app: Litestar, hosts: list[str], path: str = "/register", **headers: str) -> list[int]:
    return [(await call(app, path, host=host, **headers)).status_code for host in hosts]


# Beyond the limit


async def test_beyond_the_limit_is_429_with_a_sentence_and_the_headers(
    limited_app: Litestar, clock: TurnableClock
) -> None:
    for _ in range(3):
        await call(limited_app)
    clock.turn(timedelta(seconds=600))

    refused = await call(limited_app)

    check_envelope(refused)
    assert refused.status_code == 429
    assert refused.json()["code"] == "too_many"
    assert refused.json()["detail"] == "Too many accounts were made from your network. Try again in 50 minutes."
    assert refused.headers["retry-after"] == "3000"
    assert refused.headers["ratelimit-policy"] == '"register";q=3;w=3600'
    assert refused.headers["ratelimit"] == '"register";r=0;t=3000'


async def test_retry_after_is_exact(limited_app: Litestar, clock: TurnableClock) -> None:
    for _ in range(3):
        await call(limited_app)
    wait = int((await call(limited_app)).headers["retry-after"])

    clock.turn(timedelta(seconds=wait - 1))
    too_soon = await call(limited_app)
    clock.turn(timedelta(seconds=1))

    assert (too_soon.status_code, too_soon.headers["retry-after"]) == (429, "1")
    assert (await call(limited_app)).status_code == 200


# What is counted


async def test_each_ipv4_address_has_its_own_count(limited_app: Litestar) -> None:
    assert await statuses(limited_app, ["203.0.113.7"] * 4 + ["203.0.113.8"]) == [200, 200, 200, 429, 200]


async def test_the_addresses_of_an_ipv6_64_count_together(limited_app: Litestar) -> None:
    hosts = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:2::3", "2001:db8:1:2:1:2:3:4", "2001:db8:1:3::1"]

    assert await statuses(limited_app, hosts) == [200, 200, 200, 429, 200]


async def test_an_ipv4_mapped_ipv6_address_is_that_ipv4_address(limited_app: Litestar) -> None:
    """It does not count with all others of its /64."""
    hosts = ["203.0.113.7", "::ffff:203.0.113.7", "::ffff:cb00:7107", "203.0.113.7", "::ffff:203.0.113.8"]

    assert await statuses(limited_app, hosts) == [200, 200, 200, 429, 200]


async def test_callers_without_an_address_count_together(limited_app: Litestar) -> None:
    """Over a Unix socket, for example."""
    assert await statuses(limited_app, [""] * 4) == [200, 200, 200, 429]


@pytest.mark.parametrize("header", SPOOFED_HEADERS)
async def test_no_header_changes_what_is_counted(limited_app: Litestar, header: str) -> None:
    """Neither a header with an address, nor a token that has not been verified."""
    statuses = [(await call(limited_app, **{header: f"198.51.100.{number}"})).status_code for number in range(100)]

    assert statuses == [200] * 3 + [429] * 97


async def test_a_limit_per_user_counts_all_addresses(limited_app: Litestar) -> None:
    ana, bob = str(uuid4()), str(uuid4())

    assert await statuses(limited_app, ["203.0.113.7", "203.0.113.8"] * 2, "/password", X_User=ana) == [
        200,
        200,
        200,
        429,
    ]
    assert await statuses(limited_app, ["203.0.113.7"], "/password", X_User=bob) == [200]


async def test_a_limit_per_session_counts_each_session(limited_app: Litestar) -> None:
    ana, phone, laptop = str(uuid4()), str(uuid4()), str(uuid4())

    assert await statuses(limited_app, ["203.0.113.7"] * 4, "/refresh", X_User=ana, X_Session=phone) == [
        200,
        200,
        200,
        429,
    ]
    assert await statuses(limited_app, ["203.0.113.7"], "/refresh", X_User=ana, X_Session=laptop) == [200]


async def test_an_unauthorized_call_is_not_counted(limited_app: Litestar) -> None:
    """The guard runs first."""
    assert await statuses(limited_app, ["203.0.113.7"] * 5, "/password") == [401] * 5


async def test_a_limit_of_all_counts_every_call(make_limiter: MakeLimiter, counters: Counters) -> None:
    app = create_limited_app(make_limiter(counters, LIMIT_SIGN_IN_ALL="2/hour"))

    assert await statuses(app, [f"203.0.113.{number}" for number in range(3)], "/all") == [200, 200, 429]


# Loopback

LOOPBACK = ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "127.0.0.1"]


async def test_in_development_loopback_has_no_limit_per_address(make_limiter: MakeLimiter, counters: Counters) -> None:
    app = create_limited_app(make_limiter(counters, lifts_loopback=True, **THREE))

    assert await statuses(app, LOOPBACK) == [200] * 5
    assert await statuses(app, ["203.0.113.7"] * 4) == [200, 200, 200, 429]
    assert await statuses(app, ["127.0.0.1"] * 4, "/password", X_User=str(uuid4())) == [200, 200, 200, 429]


async def test_in_production_loopback_is_limited_as_one_address(limited_app: Litestar) -> None:
    assert await statuses(limited_app, LOOPBACK) == [200, 200, 200, 429, 429]


# Behind a proxy


@asynccontextmanager
async def serving(app: Litestar, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Run the app in uvicorn, as `mambo serve` does."""
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


async def forwarded_statuses(client: httpx.AsyncClient, chains: list[str]) -> list[int]:
    return [(await client.get("/register", headers={"X-Forwarded-For": chain})).status_code for chain in chains]


async def test_without_trusted_proxies_forwarded_addresses_are_ignored(limited_app: Litestar) -> None:
    async with serving(limited_app, proxy_headers=False) as client:
        assert await forwarded_statuses(client, [f"198.51.100.{n}" for n in range(5)]) == [200, 200, 200, 429, 429]


async def test_the_address_that_a_trusted_proxy_appends_is_counted(limited_app: Litestar) -> None:
    """The client controls the left of the header; the proxy appends the address that it sees."""
    async with serving(limited_app, proxy_headers=True, forwarded_allow_ips="127.0.0.1") as client:
        assert await forwarded_statuses(client, [f"1.2.3.{n}, 198.51.100.7" for n in range(4)]) == [200, 200, 200, 429]
        assert await forwarded_statuses(client, ["198.51.100.8"]) == [200]


async def test_a_learner_can_start_ten_uploads_a_day(school: School) -> None:
    """Each call counts, failed ones too, per learner."""
    ana, ben = await school.person(), await school.person()
    body = {"lesson_id": str(uuid4())}

    statuses = [(await ana.post("/api/submissions/upload-url", body)).status_code for _ in range(11)]
    status_of_ben = (await ben.post("/api/submissions/upload-url", body)).status_code

    assert statuses == [503] * 10 + [429]  # this app has no Mux
    assert status_of_ben == 503
