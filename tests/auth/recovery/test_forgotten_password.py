"""Forgotten passwords: a link by e-mail that works once, within an hour."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from asgi_lifespan import LifespanManager
from litestar import Litestar
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from conftest import TurnableClock
from factories import Caller, School
from mambo.app import create_app
from mambo.auth.emails import SendResetLink
from mambo.auth.models import EmailToken
from mambo.database.base import metadata
from mambo.jobs import run_now
from mambo.settings import Settings
from mambo.users.models import User
from support.mail import MailServer, sending, settle, text_of

ANA = {"email": "ana@example.com", "password": "back on two and six", "first_name": "Ana", "last_name": "Ruiz"}
NEW = "forward on six and two"
FORGOT = "/api/auth/forgot-password"
RESET = "/api/auth/reset-password"


@pytest.fixture
async def ana(school: School, client: httpx.AsyncClient, mailbox: MailServer) -> Caller:
    """Return a registered person who is signed in."""
    response = await client.post("/api/auth/register", json=ANA)
    await mailbox.settle()
    user_id = await school.scalar(sa.select(User.id))
    return Caller(client, user_id, ANA["email"], response.json()["access_token"])


async def forget(client: httpx.AsyncClient, mailbox: MailServer, email: str = ANA["email"]) -> str:
    """Request a link and return the token in it."""
    await client.post(FORGOT, json={"email": email})
    return await mailbox.link_to("reset-password", email)


async def sign_in(client: httpx.AsyncClient, password: str) -> int:
    response = await client.post("/api/auth/token", json={"email": ANA["email"], "password": password})
    return response.status_code


async def test_a_forgotten_password_is_replaced(ana: Caller, client: httpx.AsyncClient, mailbox: MailServer) -> None:
    """The old password does not sign in any more, and all sessions have ended."""
    phone = await client.post("/api/auth/token", json={"email": ANA["email"], "password": ANA["password"]})
    token = await forget(client, mailbox)

    response = await client.post(RESET, json={"token": token, "new_password": NEW})

    assert (response.status_code, response.content) == (204, b"")
    assert (await sign_in(client, ANA["password"]), await sign_in(client, NEW)) == (401, 200)
    assert (await ana.get("/api/users/me")).status_code == 401
    refreshed = await client.post("/api/auth/refresh", json={"refresh_token": phone.json()["refresh_token"]})
    assert refreshed.status_code == 401


async def test_a_reset_confirms_the_address(
    school: School, ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, clock: TurnableClock
) -> None:
    token = await forget(client, mailbox)

    await client.post(RESET, json={"token": token, "new_password": NEW})

    assert await school.scalar(sa.select(User.email_verified_at)) == clock.now


async def test_a_reset_ends_no_session_of_others(
    school: School, ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    other = await school.person()
    token = await forget(client, mailbox)

    await client.post(RESET, json={"token": token, "new_password": NEW})

    assert (await other.get("/api/users/me")).status_code == 200


async def test_the_mail_says_what_it_is_about(ana: Caller, client: httpx.AsyncClient, mailbox: MailServer) -> None:
    """Text and HTML contain the link, how long it works, and what to do if someone else requested it."""
    await client.post(FORGOT, json={"email": ANA["email"]})
    await mailbox.settle()

    recipients, message = mailbox.arrived.get_nowait()
    while message["Subject"] != "Set a new password":
        recipients, message = mailbox.arrived.get_nowait()
    text, html = text_of(message), text_of(message, "html")
    [link] = [line for line in text.splitlines() if line.startswith("https://app.mambo.example/reset-password?token=")]
    assert recipients == [ANA["email"]]
    assert f'href="{link}"' in html
    for version in (text, html):
        assert "for an hour" in version
        assert "If it was not you" in version
        assert "Ana" not in version
    assert max(len(line) for line in text.splitlines() if line != link) < 79


@pytest.mark.parametrize("email", ["ANA@Example.com", "  ana@example.com "])
async def test_case_and_spaces_of_the_address_do_not_matter(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, email: str
) -> None:
    await client.post(FORGOT, json={"email": email})

    assert await mailbox.link_to("reset-password", ANA["email"])


async def test_the_response_is_the_same_whether_or_not_there_is_an_account(
    school: School, ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    """For an active account, a disabled one, which gets no mail, and none."""
    disabled = await school.person(is_active=False)
    await mailbox.settle()
    while not mailbox.arrived.empty():
        mailbox.arrived.get_nowait()

    responses = [
        await client.post(FORGOT, json={"email": email}, headers={"X-Request-Id": "request-1"})
        for email in (ANA["email"], "nobody@example.com", disabled.email)
    ]

    known, *others = [(reply.status_code, sorted(reply.headers.items()), reply.content) for reply in responses]
    assert known[0] == 202
    assert others == [known, known]
    await mailbox.settle()
    assert mailbox.arrived.qsize() == 1


async def test_the_response_is_the_same_beyond_the_limit(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    replies = [
        [await client.post(FORGOT, json={"email": email}) for _ in range(6)]
        for email in (ANA["email"], "nobody@example.com")
    ]

    known, unknown = ([(reply.status_code, reply.headers.get("retry-after")) for reply in each] for each in replies)
    assert known == unknown
    assert [status for status, _ in known] == [202] * 5 + [429]


async def test_of_twenty_concurrent_resets_with_one_token_one_succeeds(
    school: School, ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, settings: Settings
) -> None:
    """The token's row is locked until all connections wait for it, because hashing lets them arrive one by one."""
    token = await forget(client, mailbox)
    passwords = [f"{NEW} number {number}" for number in range(20)]
    waiting = sa.select(sa.func.count()).select_from(sa.table("pg_locks")).where(sa.text("NOT granted"))

    async with school.sessions.begin() as session:
        await session.execute(sa.select(EmailToken).with_for_update())
        resets = [client.post(RESET, json={"token": token, "new_password": password}) for password in passwords]
        resetting = asyncio.gather(*resets)
        while await school.scalar(waiting) < settings.database_pool_size:
            assert not resetting.done()
    responses = await resetting

    statuses = [response.status_code for response in responses]
    assert statuses.count(204) == 1
    assert set(statuses) <= {204, 422, 503}  # hashing may take too long for some
    assert await sign_in(client, passwords[statuses.index(204)]) == 200


async def test_a_token_works_once(ana: Caller, client: httpx.AsyncClient, mailbox: MailServer) -> None:
    token = await forget(client, mailbox)
    await client.post(RESET, json={"token": token, "new_password": NEW})

    response = await client.post(RESET, json={"token": token, "new_password": f"{NEW} again"})

    assert (response.status_code, response.json()["code"]) == (422, "useless_token")
    assert await sign_in(client, NEW) == 200


@pytest.mark.parametrize(("after", "status"), [(timedelta(minutes=59, seconds=59), 204), (timedelta(minutes=60), 422)])
async def test_a_token_works_for_an_hour(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, clock: TurnableClock, after: timedelta, status: int
) -> None:
    token = await forget(client, mailbox)
    clock.turn(after)

    response = await client.post(RESET, json={"token": token, "new_password": NEW})

    assert response.status_code == status


async def test_a_newer_token_replaces_an_older_one(ana: Caller, client: httpx.AsyncClient, mailbox: MailServer) -> None:
    older, newer = await forget(client, mailbox), await forget(client, mailbox)

    responses = [await client.post(RESET, json={"token": token, "new_password": NEW}) for token in (older, newer)]

    assert [response.status_code for response in responses] == [422, 204]


@pytest.mark.parametrize("token", ["x", "x" * 43, "%00", "ä" * 43])
async def test_an_unknown_token_resets_nothing(school: School, client: httpx.AsyncClient, token: str) -> None:
    response = await client.post(RESET, json={"token": token, "new_password": NEW})

    assert (response.status_code, response.json()["code"]) == (422, "useless_token")


async def test_a_verification_token_resets_nothing(ana: Caller, client: httpx.AsyncClient, mailbox: MailServer) -> None:
    token = await mailbox.link_to("verify-email", ANA["email"])

    response = await client.post(RESET, json={"token": token, "new_password": NEW})

    assert response.status_code == 422


@pytest.mark.parametrize("password", ["short", "password123", ANA["email"], "x" * 129])
async def test_a_refused_password_does_not_use_the_token(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, password: str
) -> None:
    token = await forget(client, mailbox)

    refused = await client.post(RESET, json={"token": token, "new_password": password})

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "new_password")
    assert (await client.post(RESET, json={"token": token, "new_password": NEW})).status_code == 204


async def test_a_disabled_account_cannot_be_reset(
    school: School, ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    """Not even with a link that was sent before it was disabled."""
    token = await forget(client, mailbox)
    async with school.sessions.begin() as session:
        await session.execute(sa.update(User).values(is_active=False))

    response = await client.post(RESET, json={"token": token, "new_password": NEW})

    assert response.status_code == 422


async def test_a_reset_clears_the_count_of_failed_sign_ins(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    for guess in range(10):
        await sign_in(client, f"my password {guess}")
    token = await forget(client, mailbox)

    await client.post(RESET, json={"token": token, "new_password": NEW})

    assert await sign_in(client, NEW) == 200


async def test_a_token_is_in_no_table_and_no_log(
    school: School, ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither as text nor as bytes; addresses are not logged either. The log of the test's mail server is left out."""
    caplog.set_level(logging.DEBUG)
    token = await forget(client, mailbox)
    stored = await dump(school)
    await client.post(RESET, json={"token": token, "new_password": NEW})

    logged = [str(record.msg) + record.getMessage() for record in caplog.records if record.name.startswith("mambo")]
    assert ANA["email"] in stored
    for secret in (token, token.encode().hex()):
        assert secret not in stored
        assert secret not in "".join(logged)
    assert any("auth.password_reset" in line for line in logged)
    assert ANA["email"] not in "".join(logged)


async def test_a_refusal_by_the_mail_server_is_logged_and_does_not_change_the_response(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    mailbox.rcpt_reply = "550 no such person: ana@example.com"

    response = await client.post(FORGOT, json={"email": ANA["email"]})
    await mailbox.settle()

    [line] = [record.msg for record in caplog.records if "mail not sent" in str(record.msg)]
    assert response.status_code == 202
    assert isinstance(line, dict)
    assert line | {"timestamp": "", "request_id": ""} == {
        "event": "mail not sent",
        "level": "error",
        "purpose": "reset",
        "reason": "The mail server refused the mail or its recipient (550).",
        "user_id": str(ana.user_id),
        "timestamp": "",
        "request_id": "",
    }


async def test_a_mail_that_is_refused_for_now_is_sent_later_and_the_earlier_link_works_until_then(
    school: School, ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, engine: AsyncEngine
) -> None:
    earlier = await forget(client, mailbox)
    mailbox.rcpt_reply = "451 try again later"
    await client.post(FORGOT, json={"email": ANA["email"]})
    await mailbox.settle()
    attempts = sa.text("SELECT attempts FROM jobs.queue WHERE execute_after > now()")
    assert await school.scalar(attempts) == 1
    assert await school.scalar(sa.select(sa.func.count()).select_from(EmailToken)) == 2 + 1  # one confirms the address

    mailbox.rcpt_reply = "250 fine"
    async with school.sessions.begin() as session:
        assert await run_now(session, SendResetLink) == 1
    later = await mailbox.link_to("reset-password", ANA["email"])

    responses = [await client.post(RESET, json={"token": token, "new_password": NEW}) for token in (earlier, later)]
    assert [response.status_code for response in responses] == [422, 204]


async def test_the_earlier_link_works_while_a_newer_mail_is_not_sent(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    token = await forget(client, mailbox)
    mailbox.rcpt_reply = "451 try again later"
    await client.post(FORGOT, json={"email": ANA["email"]})
    await mailbox.settle()

    response = await client.post(RESET, json={"token": token, "new_password": NEW})

    assert response.status_code == 204


async def test_the_response_does_not_wait_for_the_mail(ana: Caller, app: Litestar, mailbox: MailServer) -> None:
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    mailbox.may_go_on.clear()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            response = await client.post(FORGOT, json={"email": ANA["email"]})
            mailbox.may_go_on.set()

            assert response.status_code == 202
            assert await mailbox.link_to("reset-password", ANA["email"])
        server.should_exit = True
        await serving


@asynccontextmanager
async def calling(settings: Settings, clock: TurnableClock) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an app with other settings."""
    app = create_app(settings, clock=clock, runs_jobs=False)
    async with LifespanManager(app), sending(app):  # type: ignore[arg-type]
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


async def test_in_development_mail_is_written_to_a_folder(
    school: School, settings: Settings, clock: TurnableClock, tmp_path: Path, engine: AsyncEngine
) -> None:
    learner = await school.person()
    without = replace(settings, smtp_url=None, mambo_data_dir=str(tmp_path))

    async with calling(without, clock) as client:
        response = await client.post(FORGOT, json={"email": learner.email})
        await settle(engine)

    [file] = (tmp_path / "mail").iterdir()
    assert response.status_code == 202
    assert "https://app.mambo.example/reset-password?token=" in file.read_text()


async def test_in_production_without_mail_the_response_says_where_to_get_help(
    school: School, settings: Settings, clock: TurnableClock
) -> None:
    """For known and unknown addresses; registration works without mail."""
    without = replace(settings, smtp_url=None, mambo_env="production")

    async with calling(without, clock) as client:
        response = await client.post(FORGOT, json={"email": "nobody@example.com"})
        registered = await client.post("/api/auth/register", json=ANA)

    assert registered.status_code == 201
    assert (response.status_code, response.json()["code"]) == (503, "not_configured")
    assert "ask it to help you" in response.json()["detail"]


async def dump(school: School) -> str:
    """Return all rows of all tables as text."""
    async with school.sessions() as session:
        rows: list[Any] = []
        for table in metadata.tables:
            rows += await session.scalars(sa.text(f"SELECT to_jsonb({table})::text FROM {table}"))  # noqa: S608
        return "\n".join(rows)


async def test_a_link_does_not_work_after_the_password_was_changed_otherwise(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    token = await forget(client, mailbox)
    await ana.post("/api/auth/password", {"current_password": ANA["password"], "new_password": "six and two forward"})

    response = await client.post(RESET, json={"token": token, "new_password": NEW})

    assert (response.status_code, response.json()["code"]) == (422, "useless_token")
