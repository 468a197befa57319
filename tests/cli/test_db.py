"""`mambo db` migrates the database, and compares it with the models."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command as alembic

from conftest import run_alembic
from support.processes import mambo, query

TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
FUNCTIONS = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"


async def test_two_concurrent_upgrades_of_an_empty_database_succeed(
    make_database: Callable[[str], Any], database_url: str, tmp_path: Path
) -> None:
    environ = {"DATABASE_URL": await make_database("two_upgrades")}

    ends = await asyncio.gather(*(mambo("db", "upgrade", folder=tmp_path, environ=environ) for _ in range(2)))

    assert [(end.code, end.err) for end in ends] == [(0, "")] * 2
    assert await query(environ["DATABASE_URL"], TABLES) == await query(database_url, TABLES)


async def test_downgrade_to_base_leaves_nothing_and_upgrade_works_again(
    make_database: Callable[[str], Any], tmp_path: Path
) -> None:
    """Below the first migration there is neither a table nor a function."""
    url: str = await make_database("down_and_up")
    await run_alembic(alembic.upgrade, url, "head")
    before = [await query(url, statement) for statement in (TABLES, FUNCTIONS)]

    end = await mambo("db", "downgrade", "base", folder=tmp_path, environ={"DATABASE_URL": url})
    down = [await query(url, statement) for statement in (TABLES, FUNCTIONS)]
    again = await mambo("db", "upgrade", folder=tmp_path, environ={"DATABASE_URL": url})
    after = [await query(url, statement) for statement in (TABLES, FUNCTIONS)]

    assert [(end.code, end.err), (again.code, again.err)] == [(0, "")] * 2
    assert down == [[("alembic_version",)], []]
    assert after == before


async def test_a_migrated_database_is_at_the_head_and_equals_the_models(database_url: str, tmp_path: Path) -> None:
    current, check = await asyncio.gather(
        *(mambo("db", word, folder=tmp_path, environ={"DATABASE_URL": database_url}) for word in ("current", "check"))
    )

    assert (current.code, check.code) == (0, 0)
    assert re.fullmatch(r"[0-9a-f]{12} \(head\)\n", current.out)
