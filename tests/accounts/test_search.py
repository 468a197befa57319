"""Search over people: it finds whom a plain loop over all people finds."""

from itertools import product
from typing import NamedTuple
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from conftest import START, counted
from factories import School
from mambo.accounts import repository
from mambo.accounts.repository import AccountReadRepository
from mambo.database.repository import SessionReader
from mambo.entitlements.models import Subscription
from mambo.users.models import User, UserProfile
from mambo.users.repository import users_containing
from mambo.web.principal import Role

# What LIKE or tsquery treats as special, and letters whose lower case depends on a locale or on their place.
LETTERS = "aAbB1 %_\\'\":*&|!()<>@./-üÜéÉßẞıİiIσΣςñÑ日ж\u0301"  # noqa: RUF001


class Name(NamedTuple):
    first: str
    last: str
    email: str
    role: Role


def fold(text: str) -> str:
    """The text in lower case, letter by letter; Python would make two of İ."""
    return "".join("i" if letter == "İ" else letter.lower() for letter in text)


def is_found(person: User, search: str, role: Role | None) -> bool:
    text = f"{person.first_name} {person.last_name} {person.email}"
    return fold(search.strip()) in fold(text) and role in {None, person.role}


texts = st.text(LETTERS, min_size=1, max_size=6)
names = st.lists(st.builds(Name, texts, texts, texts, st.sampled_from(Role)), min_size=1, max_size=8)


async def add_people(session: AsyncSession, names: list[Name]) -> list[User]:
    """Add accounts, whose addresses are made unique, and return them, the newest first."""
    people = [
        User(first_name=first, last_name=last, email=f"{email}#{number}", role=role, password_hash="-")
        for number, (first, last, email, role) in enumerate(names)
    ]
    session.add_all(people)
    await session.flush()
    for person in people:
        session.add_all([UserProfile(user_id=person.id), Subscription(user_id=person.id)])
    await session.flush()
    return people[::-1]


@given(names, st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_search_finds_everyone_who_contains_the_words(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, names: list[Name], data: st.DataObject
) -> None:
    """Page by page, among the newest people and by the index."""
    async with engine.connect() as connection, connection.begin() as transaction:
        session = AsyncSession(connection)
        people = await add_people(session, names)
        text = data.draw(st.sampled_from([f"{one.first_name} {one.last_name} {one.email}" for one in people]))
        start = data.draw(st.integers(0, len(text) - 1))
        part = text[start : data.draw(st.integers(start + 1, len(text)))]
        search = data.draw(st.one_of(st.sampled_from([part, part.upper(), part.swapcase()]), texts))
        role = data.draw(st.none() | st.sampled_from(Role))
        monkeypatch.setattr(repository, "SCANNED", data.draw(st.integers(1, len(people) + 1)))
        limit = data.draw(st.integers(1, 3))

        accounts = AccountReadRepository(SessionReader(session))
        found: list[UUID] = []
        for _ in range(len(people) // limit + 1):
            before = found[-1] if found else None
            page = await accounts.get_page(search, role, START, limit=limit, before=before)
            found += [account.id for account in page.items]

        assert found == [person.id for person in people if is_found(person, search, role)]
        await transaction.rollback()


async def test_the_index_finds_the_users(engine: AsyncEngine) -> None:
    """Its expression is the one that the query asks for."""
    query = sa.select(users_containing(sa.literal("ana")).c.id).compile(
        engine.sync_engine, compile_kwargs={"literal_binds": True}
    )

    async with engine.connect() as connection:
        await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = "\n".join(await connection.scalars(sa.text("EXPLAIN " + str(query).replace(":", "\\:"))))

    assert "Bitmap Index Scan on ix_users_search" in plan


@pytest.mark.parametrize(("search", "is_indexed"), [("ana", False), ("zoe", True)])
async def test_words_that_fill_a_page_from_the_newest_people_need_no_index(
    school: School, app: Litestar, monkeypatch: pytest.MonkeyPatch, search: str, is_indexed: bool
) -> None:
    """They are common, and the index would have to list everyone who has them."""
    monkeypatch.setattr(repository, "SCANNED", 2)
    zoe = await school.person(first_name="Zoe")
    admin, _ = await school.admin(), await school.person()

    with counted(app) as statements:
        page = (await admin.get("/api/admin/users", params={"search": search, "limit": 1})).json()

    assert len(page["items"]) == 1
    assert is_indexed == (page["items"][0]["id"] == str(zoe.user_id))
    assert is_indexed == any("search_grams" in statement for statement in statements)


async def test_the_index_misses_no_text_that_contains_the_words(engine: AsyncEngine) -> None:
    """Tried with every text of up to four characters, most of them special to tsquery, at each place of a text."""
    needles = ["".join(letters) for length in range(1, 5) for letters in product("'\\:*&|! a", repeat=length)]
    query = """
        SELECT needle FROM unnest(CAST(:needles AS text[])) AS needle,
            unnest(ARRAY['', 'ü']) AS start, unnest(ARRAY['', 'ü']) AS rest
        WHERE NOT search_grams(start || needle || rest) @@ search_query(needle)
    """

    async with engine.connect() as connection:
        missed = (await connection.scalars(sa.text(query), {"needles": needles})).all()

    assert missed == []


async def test_someone_with_all_runs_of_the_words_in_another_order_is_not_found(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "SCANNED", 1)
    await school.person(first_name="bcab", last_name="abc")
    admin = await school.admin()

    page = (await admin.get("/api/admin/users", params={"search": "abcab"})).json()

    assert page["items"] == []
