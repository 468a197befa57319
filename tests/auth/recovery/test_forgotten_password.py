"""A forgotten password: a link by e-mail, good once, for an hour."""

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

from conftest import TurnableClock
from factories import Caller, School
from mambo.app import create_app
from mambo.auth.models import EmailToken
from mambo.database.base import metadata
from mambo.settings import Settings
from mambo.users.models import User
from support.mail import MailServer, text_of

ANA = {"email": "ana@example.com", "password": "back on two and six", "first_name": "Ana", "last_name": "Ruiz"}
NEW = "forward on six and two"
FORGOT = "/api/auth/forgot-password"
RESET = "/api/auth/reset-password"


@pytest.fixture
async def ana(school: School, client: httpx.AsyncClient, mailbox: MailServer) -> Caller:
    """Someone who has registered, and is signed in."""
    response = await client.post("/api/auth/register", json=ANA)
    user_id = await school.scalar(sa.select(User.id))
    return Caller(client, user_id, ANA["email"], response.json()["access_token"])


async def forget(client: httpx.AsyncClient, mailbox: MailServer, email: str = ANA["email"]) -> str:
    """Ask for a link; answers the token in it."""
    await client.post(FORGOT, json={"email": email})
    return await mailbox.link_to("reset-password", email)


async def sign_in(client: httpx.AsyncClient, password: str) -> int:
    response = await client.post("/api/auth/token", json={"email": ANA["email"], "password": password})
    return response.status_code


async def test_a_forgotten_password_is_replaced(ana: Caller, client: httpx.AsyncClient, mailbox: MailServer) -> None:
    """The old one counts no more, every session has ended, and the address is known to be one's own."""
    phone = await client.post("/api/auth/token", json={"email": ANA["email"], "password": ANA["password"]})
    token = await forget(client, mailbox)

    response = await client.post(RESET, json={"token": token, "new_password": NEW})

    assert (response.status_code, response.content) == (204, b"")
    assert (await sign_in(client, ANA["password"]), await sign_in(client, NEW)) == (401, 200)
    assert (await ana.get("/api/users/me")).status_code == 401
    refreshed = await client.post("/api/auth/refresh", json={"refresh_token": phone.json()["refresh_token"]})
    assert refreshed.status_code == 401


async def test_a_reset_verifies_the_address(
    school: School, ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, clock: TurnableClock
) -> None:
    token = await forget(client, mailbox)

    await client.post(RESET, json={"token": token, "new_password": NEW})

    assert await school.scalar(sa.select(User.email_verified_at)) == clock.now


async def test_a_reset_ends_nobody_elses_session(
    school: School, ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    other = await school.person()
    token = await forget(client, mailbox)

    await client.post(RESET, json={"token": token, "new_password": NEW})

    assert (await other.get("/api/users/me")).status_code == 200


async def test_the_mail_reads_well(ana: Caller, client: httpx.AsyncClient, mailbox: MailServer) -> None:
    """Both versions say what it is about, how long the link works, and what to do if one did not ask."""
    await client.post(FORGOT, json={"email": ANA["email"]})

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
async def test_an_address_counts_however_it_is_written(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, email: str
) -> None:
    await client.post(FORGOT, json={"email": email})

    assert await mailbox.link_to("reset-password", ANA["email"])


async def test_the_answer_is_the_same_whether_or_not_there_is_an_account(
    school: School, ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    """For an account, for none, and for a disabled one: which gets no mail either."""
    disabled = await school.person(is_active=False)
    while not mailbox.arrived.empty():
        mailbox.arrived.get_nowait()

    answers = [
        await client.post(FORGOT, json={"email": email}, headers={"X-Request-Id": "request-1"})
        for email in (ANA["email"], "nobody@example.com", disabled.email)
    ]

    known, *others = [(answer.status_code, sorted(answer.headers.items()), answer.content) for answer in answers]
    assert known[0] == 202
    assert others == [known, known]
    assert mailbox.arrived.qsize() == 1


async def test_the_answer_is_the_same_beyond_the_limit_too(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    answers: dict[str, list[httpx.Response]] = {}
    for email in (ANA["email"], "nobody@example.com"):
        answers[email] = [await client.post(FORGOT, json={"email": email}) for _ in range(6)]

    known, unknown = ([(a.status_code, a.headers.get("retry-after")) for a in each] for each in answers.values())
    assert known == unknown
    assert [status for status, _ in known] == [202] * 5 + [429]


async def test_a_token_resets_once_of_twenty_times_at_once(
    school: School, ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, settings: Settings
) -> None:
    """They are held up until as many as have a connection stand before the token, for hashing lines them up."""
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
    assert set(statuses) <= {204, 422, 503}  # some may have waited too long to be hashed
    assert await sign_in(client, passwords[statuses.index(204)]) == 200


async def test_a_used_token_is_used_up(ana: Caller, client: httpx.AsyncClient, mailbox: MailServer) -> None:
    token = await forget(client, mailbox)
    await client.post(RESET, json={"token": token, "new_password": NEW})

    response = await client.post(RESET, json={"token": token, "new_password": f"{NEW} again"})

    assert (response.status_code, response.json()["code"]) == (422, "useless_token")
    assert await sign_in(client, NEW) == 200


@pytest.mark.parametrize(("after", "status"), [(timedelta(minutes=59, seconds=59), 204), (timedelta(minutes=60), 422)])
async def test_a_token_is_good_for_an_hour(
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
async def test_a_token_of_ones_own_making_resets_nothing(school: School, client: httpx.AsyncClient, token: str) -> None:
    response = await client.post(RESET, json={"token": token, "new_password": NEW})

    assert (response.status_code, response.json()["code"]) == (422, "useless_token")


async def test_a_token_that_verifies_resets_nothing(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    token = await mailbox.link_to("verify-email", ANA["email"])

    response = await client.post(RESET, json={"token": token, "new_password": NEW})

    assert response.status_code == 422


@pytest.mark.parametrize("password", ["short", "password123", ANA["email"], "x" * 129])
async def test_a_bad_new_password_leaves_the_token_good(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, password: str
) -> None:
    token = await forget(client, mailbox)

    refused = await client.post(RESET, json={"token": token, "new_password": password})

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "new_password")
    assert (await client.post(RESET, json={"token": token, "new_password": NEW})).status_code == 204


async def test_a_disabled_account_stays_closed(
    school: School, ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    """Also for a link that was sent before."""
    token = await forget(client, mailbox)
    async with school.sessions.begin() as session:
        await session.execute(sa.update(User).values(is_active=False))

    response = await client.post(RESET, json={"token": token, "new_password": NEW})

    assert response.status_code == 422


async def test_a_reset_lets_someone_in_who_guessed_too_often(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    for guess in range(10):
        await sign_in(client, f"my password {guess}")
    token = await forget(client, mailbox)

    await client.post(RESET, json={"token": token, "new_password": NEW})

    assert await sign_in(client, NEW) == 200


async def test_a_token_stands_in_no_table_and_no_log(
    school: School, ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither as it is nor as bytes; and no address is logged. (What aiosmtpd logs is the test's own server's.)"""
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


async def test_a_mail_server_that_refuses_is_logged_and_changes_no_answer(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    mailbox.rcpt_answer = "550 no such person: ana@example.com"

    response = await client.post(FORGOT, json={"email": ANA["email"]})

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


async def test_the_answer_does_not_wait_for_the_mail(ana: Caller, app: Litestar, mailbox: MailServer) -> None:
    """Over HTTP, for a client in this process is answered when all is done."""
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
    """Anyone, calling an app of other settings."""
    app = create_app(settings, clock=clock, upkeep_seconds=None)
    async with LifespanManager(app):  # type: ignore[arg-type]
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


async def test_in_development_a_folder_takes_the_mail(
    school: School, settings: Settings, clock: TurnableClock, tmp_path: Path
) -> None:
    learner = await school.person()
    without = replace(settings, smtp_url=None, mambo_data_dir=str(tmp_path))

    async with calling(without, clock) as client:
        response = await client.post(FORGOT, json={"email": learner.email})

    [file] = (tmp_path / "mail").iterdir()
    assert response.status_code == 202
    assert "https://app.mambo.example/reset-password?token=" in file.read_text()


async def test_in_production_without_mail_a_person_is_told_where_to_turn(
    school: School, settings: Settings, clock: TurnableClock
) -> None:
    """For every address alike; registering goes on, without a mail."""
    without = replace(settings, smtp_url=None, mambo_env="production")

    async with calling(without, clock) as client:
        response = await client.post(FORGOT, json={"email": "nobody@example.com"})
        registered = await client.post("/api/auth/register", json=ANA)

    assert registered.status_code == 201
    assert (response.status_code, response.json()["code"]) == (503, "not_configured")
    assert "ask it to help you" in response.json()["detail"]


async def dump(school: School) -> str:
    """Every row of every table, as text."""
    async with school.sessions() as session:
        rows: list[Any] = []
        for table in metadata.tables:
            rows += await session.scalars(sa.text(f"SELECT to_jsonb({table})::text FROM {table}"))  # noqa: S608
        return "\n".join(rows)


async def test_a_link_is_of_no_use_once_the_password_was_changed_another_way(
    ana: Caller, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    token = await forget(client, mailbox)
    await ana.post("/api/auth/password", {"current_password": ANA["password"], "new_password": "six and two forward"})

    response = await client.post(RESET, json={"token": token, "new_password": NEW})

    assert (response.status_code, response.json()["code"]) == (422, "useless_token")
