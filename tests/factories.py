"""Factories of test data: signed-in users and courses, created directly in the database."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import httpx
import sqlalchemy as sa
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from mambo.auth.models import AuthSession
from mambo.auth.tokens import AccessTokens, Claims
from mambo.courses.models import Difficulty, Lesson, Level, World
from mambo.database.base import Base
from mambo.entitlements.models import Subscription, SubscriptionStatus
from mambo.game.repository import AuditRepository
from mambo.users.models import User, UserProfile
from mambo.web.principal import Role

numbers = count(1)


class Caller:
    """A client of the API with the token of a user."""

    def __init__(self, client: httpx.AsyncClient, user_id: UUID, email: str, token: str) -> None:
        self.client, self.user_id, self.email, self.token = client, user_id, email, token

    async def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"} | kwargs.pop("headers", {})
        return await self.client.request(method, path, headers=headers, **kwargs)

    async def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return await self.request("GET", path, **kwargs)

    async def post(self, path: str, json: Any = None, **kwargs: Any) -> httpx.Response:
        return await self.request("POST", path, **({} if json is None else {"json": json}), **kwargs)

    async def patch(self, path: str, json: Any, **kwargs: Any) -> httpx.Response:
        return await self.request("PATCH", path, json=json, **kwargs)

    async def put(self, path: str, json: Any, **kwargs: Any) -> httpx.Response:
        return await self.request("PUT", path, json=json, **kwargs)

    async def delete(self, path: str, **kwargs: Any) -> httpx.Response:
        return await self.request("DELETE", path, **kwargs)


def calling(app: Litestar, caller: Caller) -> Caller:
    """Return the user as a client of another app, as of another worker."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
    client = httpx.AsyncClient(transport=transport, base_url="http://test")
    return Caller(client, caller.user_id, caller.email, caller.token)


class School:
    """Creates users and courses; `sessions` is for tests that read rows."""

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        client: httpx.AsyncClient,
        tokens: AccessTokens,
        clock: Callable[[], datetime],
    ) -> None:
        self.sessions, self.client, self.tokens, self.clock = sessions, client, tokens, clock

    async def add(self, *rows: Any) -> None:
        async with self.sessions() as session, session.begin():
            for row in rows:
                session.add(row)
                await session.flush()

    async def scalar(self, query: sa.Executable) -> Any:
        async with self.sessions() as session:
            return await session.scalar(query)

    async def count(self, model: type[Base]) -> int:
        """Return the number of rows in the table of a model."""
        number: int = await self.scalar(sa.select(sa.func.count()).select_from(model))
        return number

    async def check_xp(self) -> None:
        """Check that the totals and weeks of users equal the ledger; not for users that were created with XP."""
        async with self.sessions() as session:
            user_ids = list(await session.scalars(sa.select(UserProfile.user_id)))
            assert await AuditRepository(session).find_differences(user_ids) == []

    async def person(
        self, role: Role = Role.USER, *, subscribed: bool = False, timezone: str = "UTC", xp: int = 0, **user: Any
    ) -> Caller:
        """Create an account and a session; no password matches its hash."""
        number = next(numbers)
        account = User(
            **{"email": f"p{number}@example.com", "first_name": "Ana", "last_name": f"Nr{number}", "password_hash": "-"}
            | {"role": role}
            | user
        )
        status = SubscriptionStatus.ACTIVE if subscribed else SubscriptionStatus.INCOMPLETE
        await self.add(account)
        await self.add(
            UserProfile(user_id=account.id, timezone=timezone, xp=xp), Subscription(user_id=account.id, status=status)
        )
        return await self.sign_in(account.id, account.email)

    async def sign_in(self, user_id: UUID, email: str) -> Caller:
        """Create another session of a user."""
        now = self.clock()
        row = AuthSession(user_id=user_id, device="test", last_seen_at=now, expires_at=now + timedelta(days=30))
        await self.add(row)
        return Caller(self.client, user_id, email, self.tokens.issue(Claims(user_id, row.id), now, row.expires_at)[0])

    async def admin(self) -> Caller:
        return await self.person(Role.ADMIN)

    async def instructor(self) -> Caller:
        return await self.person(Role.INSTRUCTOR)

    async def world(self, *, lessons: int = 0, **world: Any) -> World:
        """Create a published, free course with lessons in one level."""
        number = next(numbers)
        row = World(
            **{"title": f"World {number}", "slug": f"world-{number}", "order_index": number, "is_free": True}
            | {"is_published": True, "difficulty": Difficulty.BEGINNER}
            | world
        )
        await self.add(row)
        if lessons:
            level = await self.level(row)
            for index in range(lessons):
                await self.lesson(level, order_index=index)
        return row

    async def level(self, world: World, **level: Any) -> Level:
        row = Level(**{"world_id": world.id, "title": "Level", "order_index": 0} | level)
        await self.add(row)
        return row

    async def lesson(self, level: Level, **lesson: Any) -> Lesson:
        number = next(numbers)
        defaults = {
            "title": f"Lesson {number}",
            "order_index": number,
            "world_id": level.world_id,
            "level_id": level.id,
        }
        row = Lesson(**defaults | lesson)
        await self.add(row)
        return row

    async def lessons_of(self, world: World) -> list[Lesson]:
        """Return the lessons of a course in the order of creation."""
        async with self.sessions() as session:
            return list(await session.scalars(sa.select(Lesson).where(Lesson.world_id == world.id).order_by(Lesson.id)))
