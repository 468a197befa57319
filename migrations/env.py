"""Runs migrations in one transaction, one process at a time; the URL comes from `mambo db` or from the environment."""

import asyncio
import os

import sqlalchemy as sa
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

import mambo.app  # noqa: F401 - brings every room's models
from mambo.database.base import metadata
from mambo.settings.urls import async_database_url

MIGRATION_LOCK = 0x6D616D626F  # "mambo"
url = context.config.attributes.get("url") or async_database_url(os.environ["DATABASE_URL"])


def migrate(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        context.run_migrations()


async def connect_and_migrate() -> None:
    engine = create_async_engine(url, poolclass=sa.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


if context.is_offline_mode():
    context.configure(
        url=url,
        target_metadata=metadata,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(connect_and_migrate())
