"""The bases of repositories."""

import pytest
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from factories import School
from mambo.courses.models import Difficulty, World
from mambo.database.repository import Query, ReadRepository, SessionReader
from mambo.database.statements import param


class Slug(Struct):
    """A row, with a field that is no column."""

    slug: str
    is_locked: bool = False


SLUG = Query(sa.select(World.slug).where(World.title == param("title", sa.Text())), Slug)


class SlugRepository(ReadRepository):
    async def get(self, title: str) -> Slug | None:
        return await self._one(SLUG, title=title)


@pytest.mark.parametrize("columns", [(World.title,), (World.slug, World.title)])
def test_a_query_has_a_column_for_each_required_field_and_no_other(columns: tuple[sa.ColumnElement[str], ...]) -> None:
    with pytest.raises(TypeError, match=r"differ in .*title"):
        Query(sa.select(*columns), Slug)


async def test_a_session_reader_sees_what_its_session_has_added(school: School, engine: AsyncEngine) -> None:
    world = World(title="New", slug="new", order_index=0, difficulty=Difficulty.BEGINNER)
    async with AsyncSession(engine) as session, session.begin():
        slugs = SlugRepository(SessionReader(session))
        before = await slugs.get("New")
        session.add(world)
        after = await slugs.get("New")

    assert (before, after) == (None, Slug("new"))
