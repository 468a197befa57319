"""Core statements, compiled once."""

from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

T = TypeVar("T")
DIALECT: Dialect = asyncpg_dialect()  # type: ignore[no-untyped-call]


def param(name: str, kind: sa.types.TypeEngine[T]) -> sa.BindParameter[T]:
    """A value of a `Statement` that is named with each call."""
    return sa.bindparam(name, type_=kind, required=False)


class Statement:
    """A Core statement, compiled once, for a `Pool`; what goes in and out is asyncpg's, such as a text for an enum."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = cast("SQLCompiler", statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True}))
        self.sql = str(compiled)
        # A constant has its value here, and what is given with each call has none.
        self._arguments = [(name, compiled.params[name]) for name in compiled.positiontup or ()]

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """The arguments in the order of the SQL; KeyError when one is missing."""
        return [values[name] if constant is None else constant for name, constant in self._arguments]
