"""The confirmation of e-mail addresses: a link that works once, within a day."""

import asyncio
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa

from conftest import TurnableClock
from factories import Caller, School
from mambo.auth.service import SignInService
from mambo.users.models import User
from support.mail import MailServer

VERIFY = "/api/auth/verify-email"
RESEND = "/api/auth/resend-verification"


async def resend(learner: Caller, mailbox: MailServer) -> str:
    """Request a link and return the token in it."""
    await learner.post(RESEND)
    return await mailbox.link_to("verify-email", learner.email)


async def test_registration_sends_a_link(
    school: School, client: httpx.AsyncClient, mailbox: MailServer, clock: TurnableClock
) -> None:
    account = {"email": " Ana@Example.com", "password": "back on two and six", "first_name": "Ana", "last_name": "Ruiz"}

    response = await client.post("/api/auth/register", json=account)

    token = await mailbox.link_to("verify-email", "ana@example.com")
    assert response.status_code == 201
    assert (await client.post(VERIFY, json={"token": token})).status_code == 204
    assert await school.scalar(sa.select(User.email_verified_at)) == clock.now


async def test_a_refused_registration_sends_no_mail(
    school: School, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    learner = await school.person()
    account = {"email": learner.email, "password": "back on two and six", "first_name": "Ana", "last_name": "Ruiz"}

    response = await client.post("/api/auth/register", json=account)

    assert response.status_code == 409
    await mailbox.settle()
    assert mailbox.arrived.empty()


async def test_a_registration_that_is_rolled_back_sends_no_mail(
    school: School, client: httpx.AsyncClient, mailbox: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is part of the transaction that creates the account."""

    async def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(SignInService, "_open_session", fail)
    account = {"email": "ana@example.com", "password": "back on two and six", "first_name": "Ana", "last_name": "Ruiz"}

    response = await client.post("/api/auth/register", json=account)

    assert response.status_code == 500
    assert await school.scalar(sa.text("SELECT count(*) FROM jobs.queue")) == 0
    assert mailbox.arrived.empty()


async def test_a_link_confirms_the_address(
    school: School, client: httpx.AsyncClient, mailbox: MailServer, clock: TurnableClock
) -> None:
    """Without signing in, because it may be opened on another device."""
    learner, other = await school.person(), await school.person()
    token = await resend(learner, mailbox)

    response = await client.post(VERIFY, json={"token": token})

    verified = sa.select(User.email_verified_at).where(User.id == learner.user_id)
    assert (response.status_code, response.content) == (204, b"")
    assert await school.scalar(verified) == clock.now
    assert await school.scalar(verified.where(User.id == other.user_id)) is None


async def test_of_twenty_concurrent_confirmations_with_one_token_one_succeeds(
    school: School, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    token = await resend(await school.person(), mailbox)

    responses = await asyncio.gather(*(client.post(VERIFY, json={"token": token}) for _ in range(20)))

    assert sorted(response.status_code for response in responses) == [204] + [422] * 19


@pytest.mark.parametrize(("after", "status"), [(timedelta(hours=24, seconds=-1), 204), (timedelta(hours=24), 422)])
async def test_a_token_works_for_a_day(
    school: School,
    client: httpx.AsyncClient,
    mailbox: MailServer,
    clock: TurnableClock,
    after: timedelta,
    status: int,
) -> None:
    token = await resend(await school.person(), mailbox)
    clock.turn(after)

    response = await client.post(VERIFY, json={"token": token})

    assert response.status_code == status


async def test_a_newer_token_replaces_an_older_one(
    school: School, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    learner = await school.person()
    older, newer = await resend(learner, mailbox), await resend(learner, mailbox)

    responses = [await client.post(VERIFY, json={"token": token}) for token in (older, newer)]

    assert [response.status_code for response in responses] == [422, 204]


async def test_a_reset_token_confirms_nothing(school: School, client: httpx.AsyncClient, mailbox: MailServer) -> None:
    learner = await school.person()
    await client.post("/api/auth/forgot-password", json={"email": learner.email})
    token = await mailbox.link_to("reset-password", learner.email)

    response = await client.post(VERIFY, json={"token": token})

    assert (response.status_code, response.json()["code"]) == (422, "useless_token")


async def test_a_confirmed_address_is_sent_no_mail(
    school: School, client: httpx.AsyncClient, mailbox: MailServer
) -> None:
    learner = await school.person()
    await client.post(VERIFY, json={"token": await resend(learner, mailbox)})

    response = await learner.post(RESEND)

    assert (response.status_code, response.json()["code"]) == (409, "already_verified")
    await mailbox.settle()
    assert mailbox.arrived.empty()


async def test_a_link_is_sent_again_at_most_five_times_a_day(
    school: School, mailbox: MailServer, clock: TurnableClock
) -> None:
    learner = await school.person()

    statuses = [(await learner.post(RESEND)).status_code for _ in range(6)]

    assert statuses == [202] * 5 + [429]
    clock.turn(timedelta(days=1))
    assert (await learner.post(RESEND)).status_code == 202


async def test_without_a_sign_in_no_mail_is_sent(client: httpx.AsyncClient, mailbox: MailServer) -> None:
    response = await client.post(RESEND)

    assert response.status_code == 401
    await mailbox.settle()
    assert mailbox.arrived.empty()
