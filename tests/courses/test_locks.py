"""Every change of a course's levels or lessons waits for the lock of the course."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from factories import School
from mambo.courses.models import World

IS_WAITING = sa.text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "courses/{world}/order", []),
        ("POST", "courses/{world}/levels", {"title": "Turns", "order_index": 1}),
        ("PATCH", "levels/{level}", {"title": "Turns"}),
        ("DELETE", "levels/{level}", None),
        ("POST", "courses/{world}/lessons", {"title": "Turns", "order_index": 1}),
        ("POST", "levels/{level}/lessons", {"title": "Turns", "order_index": 1}),
        ("PATCH", "lessons/{lesson}", {"title": "Turns"}),
        ("DELETE", "lessons/{lesson}", None),
        ("DELETE", "courses/{world}", None),
        ("DELETE", "courses/{world}?force=true", None),
    ],
)
async def test_a_change_waits_for_the_lock_of_its_course(
    school: School, engine: AsyncEngine, method: str, path: str, body: Any
) -> None:
    world, admin = await school.world(lessons=1), await school.admin()
    [lesson] = await school.lessons_of(world)
    url = f"/api/admin/{path.format(world=world.id, level=lesson.level_id, lesson=lesson.id)}"

    async with engine.begin() as connection:
        await connection.execute(sa.select(World.id).where(World.id == world.id).with_for_update(key_share=True))
        request = asyncio.create_task(admin.request(method, url, json=body))
        while not request.done() and not await connection.scalar(IS_WAITING):
            await asyncio.wait({request}, timeout=0.01)
        is_done = request.done()

    assert not is_done
    assert (await request).is_success
