"""`/health`: whether the process runs, and whether it is ready to serve."""

import asyncio

import sqlalchemy as sa
from litestar import Controller, get
from litestar.di import NamedDependency
from msgspec import Struct

from mambo.database.errors import DATABASE_ERRORS
from mambo.database.pool import Pool
from mambo.database.statements import Statement
from mambo.errors import Unavailable
from mambo.web.guards import IGNORES_TOKEN, open_to_anyone
from mambo.web.openapi import raises

READY_SECONDS = 2
PING = Statement(sa.select(1))


class Health(Struct):
    """The state of the service in one word."""

    status: str


class Welcome(Struct):
    """Where the documentation is."""

    name: str
    docs: str
    openapi: str


class HealthController(Controller):
    tags = ("Service",)
    guards = (open_to_anyone,)
    opt = {IGNORES_TOKEN: True}

    @get("/", sync_to_thread=False)
    def welcome(self) -> Welcome:
        """Return where the documentation is."""
        return Welcome(name="Mambo", docs="/docs", openapi="/openapi.json")

    @get(["/health", "/health/live"], sync_to_thread=False)
    def health(self) -> Health:
        """Check that the process runs."""
        return Health("healthy")

    @get("/health/ready", responses=raises(503))
    async def ready(self, pool: NamedDependency[Pool]) -> Health:
        """Check that the process runs and the database responds."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await pool.fetch_one(PING)
        except DATABASE_ERRORS as error:
            raise Unavailable("The database does not respond.") from error
        return Health("ready")
