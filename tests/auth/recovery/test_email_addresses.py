"""An e-mail address is one account's, in whichever of its spellings it is written."""

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from alembic import command as alembic
from hypothesis import given
from hypothesis import strategies as st

from conftest import run_alembic
from factories import School
from mambo.auth.passwords import HASHER
from mambo.database.session import create_engine
from mambo.devkit.demo import ADMIN_EMAIL
from mambo.users.models import User
from mambo.users.rules import normalize_email, require_email
from support.mail import MailServer

ANA = {"email": "ana@bücher.example", "password": "back on two", "first_name": "Ana", "last_name": "Ruiz"}
SPELLINGS = [
    "ana@bücher.example",
    " Ana@BÜCHER.Example ",
    "ana@bu\u0308cher.example",  # NFD
    "ana@xn--bcher-kva.example",
    "ana@XN--BCHER-KVA.example",
    "ana@bücher。example",
    "ana@\uff42ücher.example",  # full width
]


@pytest.mark.parametrize("email", SPELLINGS)
async def test_an_address_is_one_account_in_every_spelling(
    school: School, client: httpx.AsyncClient, mailbox: MailServer, email: str
) -> None:
    """Registering again, signing in and recovery find the account; mail goes to the domain's ASCII name."""
    await client.post("/api/auth/register", json=ANA)

    again = await client.post("/api/auth/register", json=ANA | {"email": email})
    token = await client.post("/api/auth/token", json={"email": email, "password": ANA["password"]})
    forgot = await client.post("/api/auth/forgot-password", json={"email": email})

    assert (again.status_code, token.status_code, forgot.status_code) == (409, 200, 202)
    assert await mailbox.link_to("reset-password", "ana@xn--bcher-kva.example")
    assert await school.scalar(sa.select(User.email)) == "ana@bücher.example"


async def test_failed_sign_ins_count_for_the_account_in_every_spelling(
    school: School, client: httpx.AsyncClient
) -> None:
    responses = [
        await client.post("/api/auth/token", json={"email": SPELLINGS[n % len(SPELLINGS)], "password": "wrong"})
        for n in range(11)
    ]

    assert [response.status_code for response in responses] == [401] * 10 + [429]


async def test_two_domains_that_idna_2003_takes_for_one_are_two_accounts(
    school: School, client: httpx.AsyncClient
) -> None:
    """`straße.de` and `strasse.de` have different owners."""
    for email in ("ana@straße.de", "ana@strasse.de"):
        response = await client.post("/api/auth/register", json=ANA | {"email": email})
        assert response.status_code == 201

    assert await school.scalar(sa.select(sa.func.count()).select_from(User)) == 2


@pytest.mark.parametrize(
    ("email", "reason"),
    [
        ("ana", "email cannot be used: An email address must have an @-sign."),
        (f"ana@{'x' * 64}.com", "email cannot be used: After the @-sign, periods cannot be separated by so many"),
        ("ana@mambo.local", "email cannot be used: The part after the @-sign is a special-use or reserved name"),
        ("añá@example.com", "email cannot be used: Internationalized characters before the @-sign are not supported: "),
    ],
)
async def test_an_address_that_does_not_register_says_what_is_wrong(
    school: School, client: httpx.AsyncClient, email: str, reason: str
) -> None:
    response = await client.post("/api/auth/register", json=ANA | {"email": email})

    [problem] = response.json()["errors"]
    assert (response.status_code, problem["field"], problem["code"]) == (422, "email", "wrong_format")
    assert response.json()["detail"].startswith(reason)


@pytest.mark.parametrize("email", ["admin@mambo.local", "root@school.test", "ana(old)@example..com", "añá", "@"])
async def test_signing_in_and_recovery_refuse_no_address(
    school: School, client: httpx.AsyncClient, mailbox: MailServer, email: str
) -> None:
    """Accounts of the older service have such addresses."""
    await school.person(email=email, password_hash=HASHER.hash(ANA["password"]))

    token = await client.post("/api/auth/token", json={"email": f" {email.upper()}", "password": ANA["password"]})
    forgot = await client.post("/api/auth/forgot-password", json={"email": email})

    assert (token.status_code, forgot.status_code) == (200, 202)


@given(st.text() | st.emails() | st.builds("{}@{}.{}".format, st.text(min_size=1), st.text(min_size=1), st.text()))
def test_a_normalized_address_stays_as_it_is(text: str) -> None:
    once = normalize_email(text)

    assert normalize_email(once) == once


def test_the_local_admin_has_an_address_that_registers() -> None:
    assert require_email("email", ADMIN_EMAIL) == ADMIN_EMAIL


async def test_the_migration_normalizes_addresses_and_reports_collisions(
    make_database: Callable[[str], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Of accounts with one address the oldest gets it; the others keep theirs, and the log names them by id only."""
    url: str = await make_database("addresses")
    await run_alembic(alembic.upgrade, url, "8e41b7c0d5fa")
    stored = ["ana@xn--bcher-kva.example", "ben@Straße.de", "ana@bu\u0308cher.example", "eva@example.com", "old(1)@x"]
    engine = create_engine(url, pool_size=1)
    async with engine.begin() as connection:
        for n, email in enumerate(stored):
            await connection.execute(
                sa.text(
                    "INSERT INTO users (id, email, password_hash, first_name, last_name, role, is_active, created_at)"
                    " VALUES (:id, :email, '', '', '', 'user', true, now() + :n * interval '1 second')"
                ),
                {"id": f"00000000-0000-7000-8000-00000000000{n}", "email": email, "n": n},
            )

    with caplog.at_level(logging.WARNING):
        await run_alembic(alembic.upgrade, url, "head")

    async with engine.begin() as connection:
        emails = list(await connection.scalars(sa.text("SELECT email FROM users ORDER BY id")))
    await engine.dispose()
    assert emails == ["ana@bücher.example", "ben@straße.de", stored[2], "eva@example.com", "old(1)@x"]
    [warning] = [record.getMessage() for record in caplog.records if record.name == "alembic.emails"]
    assert "account 00000000-0000-7000-8000-000000000002 has" in warning
    assert "of 00000000-0000-7000-8000-000000000000," in warning
    assert "@" not in warning
