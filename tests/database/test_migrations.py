"""The migrated schema: it equals the models, and its constraints hold for any SQL."""

from collections.abc import Callable
from math import isqrt
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

import mambo
from factories import School
from mambo.courses.models import Lesson
from mambo.database.base import metadata
from mambo.database.session import create_engine
from mambo.game import rules
from mambo.game.models import XpEvent, XpKind
from mambo.users.models import UserProfile
from mambo.web.schemas import INT4_MAX
from support.processes import query

CATALOGUE = {
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype <> 't'
        AND conrelid::regclass::text <> 'alembic_version' ORDER BY 1, 2
    """,
    "indexes": """
        SELECT indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1
    """,
    "columns": """
        SELECT table_name, column_name, data_type, udt_name, character_maximum_length, numeric_precision,
               datetime_precision, is_nullable, column_default, is_generated, generation_expression
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2
    """,
    # Migrations indent the text of a function.
    "functions": r"""
        SELECT regexp_replace(pg_get_functiondef(oid), '\s+', ' ', 'g') FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace ORDER BY 1
    """,
    "triggers": """
        SELECT pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace = 'public'::regnamespace AND NOT tgisinternal ORDER BY 1
    """,
}
FUNCTIONS = Path(mambo.__file__).parent / "database" / "functions"


async def execute(engine: AsyncEngine, statement: str, **values: Any) -> None:
    """Run raw SQL."""
    async with engine.begin() as connection:
        await connection.execute(sa.text(statement), values)


# Equality with the models


@pytest.fixture(scope="module")
async def created_url(make_database: Callable[[str], Any]) -> str:
    """A database that was created from the models and the files of functions, without migrations."""
    url: str = await make_database("created_by_the_models")
    engine = create_engine(url, pool_size=1)
    async with engine.begin() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        functions = {file.stem: file.read_text() for file in FUNCTIONS.glob("*.sql")}
        for name in ("user_search_text", "search_grams"):  # an index uses them
            await driver.execute(functions.pop(name))
        await connection.run_sync(metadata.create_all)
        for function in functions.values():
            await driver.execute(function)
    await engine.dispose()
    return url


@pytest.mark.parametrize("kind", CATALOGUE)
async def test_the_migrated_schema_equals_the_models_and_files(database_url: str, created_url: str, kind: str) -> None:
    """Constraints, indexes, columns, functions and triggers, each with its full definition."""
    migrated = await query(database_url, CATALOGUE[kind])

    assert migrated == await query(created_url, CATALOGUE[kind])
    assert len(migrated) >= 10


async def test_each_function_has_a_file_of_its_name_and_finds_its_tables(database_url: str) -> None:
    """With any search path: pg_restore sets an empty one, and triggers run while it loads data.

    PostgreSQL resolves the names in a body of SQL when it creates the function, unless the body is a string.
    """
    functions = await query(
        database_url,
        "SELECT proname, prosqlbody IS NOT NULL OR proconfig = '{search_path=public}'"
        " FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    )

    assert dict(functions) == {file.stem: True for file in FUNCTIONS.glob("*.sql")}


# The ledger


@pytest.mark.parametrize("change", ["UPDATE xp_event SET amount = 1000", "DELETE FROM xp_event"])
async def test_the_ledger_refuses_updates_and_deletes(school: School, engine: AsyncEngine, change: str) -> None:
    learner = await school.person()
    await school.add(xp_event(learner.user_id))

    with pytest.raises(IntegrityError, match="append-only"):
        await execute(engine, change)

    assert await school.scalar(sa.select(XpEvent.amount)) == 50


async def test_the_ledger_of_a_learner_is_deleted_with_the_learner(school: School, engine: AsyncEngine) -> None:
    deleted, kept = await school.person(), await school.person()
    await school.add(xp_event(deleted.user_id), xp_event(kept.user_id))

    await execute(engine, "DELETE FROM users WHERE id = :id", id=deleted.user_id)

    async with school.sessions() as session:
        assert list(await session.scalars(sa.select(XpEvent.user_id))) == [kept.user_id]


async def test_an_admin_who_adjusted_xp_cannot_be_deleted(school: School, engine: AsyncEngine) -> None:
    """The ledger references that admin."""
    learner, admin = await school.person(), await school.admin()
    await school.add(xp_event(learner.user_id, kind=XpKind.ADJUSTMENT, actor_id=admin.user_id))

    with pytest.raises(IntegrityError, match="fk_xp_event_actor_id_users"):
        await execute(engine, "DELETE FROM users WHERE id = :id", id=admin.user_id)


async def test_the_ledger_has_one_event_per_source(school: School) -> None:
    learner = await school.person()
    source_id = uuid4()
    await school.add(xp_event(learner.user_id, source_id=source_id))

    with pytest.raises(IntegrityError, match="uq_xp_event_source"):
        await school.add(xp_event(learner.user_id, source_id=source_id))


def xp_event(user_id: UUID, **event: Any) -> XpEvent:
    """An event of 50 XP for a lesson. Its id is arbitrary, because the ledger outlives lessons."""
    defaults = {"kind": XpKind.LESSON, "source_id": uuid4(), "amount": 50, "at": sa.func.now()}
    return XpEvent(user_id=user_id, **defaults | event)


# Levels


async def test_the_generated_level_equals_the_rules(database_url: str) -> None:
    """For every 37th XP up to 100 000, and on both sides of every level that fits into the column."""
    [(expression,)] = await query(
        database_url,
        "SELECT generation_expression FROM information_schema.columns"
        " WHERE table_name = 'user_profile' AND column_name = 'level'",
    )
    edges = [n * n * 100 + side for n in range(1, isqrt(INT4_MAX // 100) + 1) for side in (-1, 0)]
    amounts = [*range(0, 100_000, 37), *edges, INT4_MAX]

    levels = await query(
        database_url,
        f"SELECT xp, {expression} FROM unnest('{{{','.join(map(str, amounts))}}}'::integer[]) AS t (xp)",  # noqa: S608
    )

    assert len(levels) == len(amounts)
    assert [(xp, level) for xp, level in levels if level != rules.level_of(xp)] == []


async def test_the_level_is_generated_from_the_xp_and_cannot_be_set(school: School, engine: AsyncEngine) -> None:
    learner = await school.person(xp=399)

    await execute(engine, "UPDATE user_profile SET xp = 900")

    assert await school.scalar(sa.select(UserProfile.level).where(UserProfile.user_id == learner.user_id)) == 3
    with pytest.raises(sa.exc.ProgrammingError, match="can only be updated to DEFAULT"):
        await execute(engine, "UPDATE user_profile SET level = 9")


# Constraints


async def test_an_email_address_is_unique_in_any_case(school: School, engine: AsyncEngine) -> None:
    await school.person(email="ana@example.com")
    other = await school.person()

    with pytest.raises(IntegrityError, match="uq_users_email"):
        await execute(engine, "UPDATE users SET email = 'Ana@Example.COM' WHERE id = :id", id=other.user_id)


@pytest.mark.parametrize(
    ("violation", "constraint"),
    [
        ("UPDATE user_profile SET xp = -1", "ck_user_profile_xp_not_negative"),
        ("UPDATE users SET role = 'root'", "ck_users_role"),
        ("UPDATE users SET role = 'Admin'", "ck_users_role"),
        ("UPDATE users SET email = NULL", "email"),
        ("UPDATE subscription SET tier = 'platinum'", "ck_subscription_tier"),
        ("UPDATE subscription SET status = 'forever'", "ck_subscription_subscriptionstatus"),
        ("UPDATE world SET difficulty = 'Impossible'", "ck_world_difficulty"),
        ("UPDATE lesson SET xp_value = -1", "ck_lesson_xp_value_not_negative"),
        ("UPDATE lesson SET level_id = gen_random_uuid()", "fk_lesson_level"),
        ("UPDATE user_profile SET user_id = gen_random_uuid()", "fk_user_profile_user_id_users"),
    ],
)
async def test_the_database_refuses_invalid_rows(
    school: School, engine: AsyncEngine, violation: str, constraint: str
) -> None:
    await school.person()
    await school.world(lessons=1)

    with pytest.raises(IntegrityError, match=f'"{constraint}"'):
        await execute(engine, violation)


async def test_a_lesson_cannot_be_in_a_level_of_another_world(school: School, engine: AsyncEngine) -> None:
    world, other = await school.world(lessons=1), await school.world()
    level = await school.level(other)
    [lesson] = await school.lessons_of(world)

    with pytest.raises(IntegrityError, match="fk_lesson_level"):
        await execute(engine, "UPDATE lesson SET level_id = :level WHERE id = :id", level=level.id, id=lesson.id)


async def test_deleting_a_world_deletes_its_lessons_and_keeps_the_ledger(school: School, engine: AsyncEngine) -> None:
    world = await school.world(lessons=1)
    learner = await school.person()
    [lesson] = await school.lessons_of(world)
    await school.add(xp_event(learner.user_id, source_id=lesson.id))

    await execute(engine, "DELETE FROM world")

    assert await school.scalar(sa.select(sa.func.count()).select_from(Lesson)) == 0
    assert await school.scalar(sa.select(sa.func.count()).select_from(XpEvent)) == 1


async def test_a_slug_is_unique(school: School, engine: AsyncEngine) -> None:
    await school.world(slug="mambo")
    other = await school.world()

    with pytest.raises(IntegrityError, match="uq_world_slug"):
        await execute(engine, "UPDATE world SET slug = 'mambo' WHERE id = :id", id=other.id)
