"""Whether the service lives, and whether it is ready to work."""

import asyncio

import sqlalchemy as sa
from litestar import Controller, get
from litestar.di import NamedDependency
from msgspec import Struct

from mambo.database.errors import DATABASE_ERRORS
from mambo.database.pool import Pool
from mambo.database.statements import Statement
from mambo.errors import Unavailable
from mambo.web.guards import open_to_anyone
from mambo.web.openapi import raises

READY_SECONDS = 2
PING = Statement(sa.select(1))


class Health(Struct):
    """A word on how the service is."""

    status: str


class Welcome(Struct):
    """Where to go from the root."""

    name: str
    docs: str
    openapi: str


class HealthController(Controller):
    tags = ("Service",)
    guards = (open_to_anyone,)
    opt = {"ignores_token": True}

    @get("/", sync_to_thread=False)
    def welcome(self) -> Welcome:
        """Where to find the documentation."""
        return Welcome(name="Mambo", docs="/docs", openapi="/openapi.json")

    @get(["/health", "/health/live"], sync_to_thread=False)
    def health(self) -> Health:
        """The process answers."""
        return Health("healthy")

    @get("/health/ready", responses=raises(503))
    async def ready(self, pool: NamedDependency[Pool]) -> Health:
        """The process answers, and so does the database."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await pool.fetch_one(PING)
        except DATABASE_ERRORS as error:
            raise Unavailable("The database does not answer.") from error
        return Health("ready")
