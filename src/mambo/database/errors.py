"""Translates errors of the database into errors of the application."""

from functools import cache
from typing import cast

import asyncpg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from mambo.database.base import metadata
from mambo.errors import Conflict, Invalid, MamboError, Unavailable

CONNECTION_ERRORS = (OSError, PoolTimeoutError, asyncpg.InterfaceError)
DATABASE_ERRORS = (DBAPIError, asyncpg.PostgresError, *CONNECTION_ERRORS)


def translate_database_error(error: Exception) -> MamboError | None:
    """Return the error that a database error means to the client, without the driver's message; None for a bug."""
    driver_error = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig else error
    state = getattr(driver_error, "sqlstate", None) or ""
    is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if is_lost or isinstance(error, CONNECTION_ERRORS) or state[:2] in {"08", "53", "57"}:
        return Unavailable("The database does not respond. Try again in a moment.")
    if state in {"40001", "40P01", "55P03"}:
        return Unavailable("Someone else changed this at the same time. Try again.")
    if state.startswith("23"):
        constraint = getattr(driver_error, "constraint_name", None)
        return Conflict(problems_by_constraint().get(constraint or "", "This contradicts what is stored."))
    if state.startswith("22") or isinstance(driver_error, asyncpg.DataError):
        return Invalid("A value cannot be stored: it holds a character or a number that is out of range.")
    return None


@cache
def problems_by_constraint() -> dict[str, str]:
    """Return the sentence of each constraint and index that has one (`info["problem"]`), by name."""
    return {
        str(named.name): named.info["problem"]
        for table in metadata.tables.values()
        for named in cast("list[sa.Constraint | sa.Index]", [*table.constraints, *table.indexes])
        if "problem" in named.info
    }
