"""SQLAlchemy Core statements that are compiled once, when a module is imported."""

from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

T = TypeVar("T")
DIALECT: Dialect = asyncpg_dialect()  # type: ignore[no-untyped-call]


def param(name: str, kind: sa.types.TypeEngine[T]) -> sa.BindParameter[T]:
    """Return a parameter of a `Statement`, whose value is given with each call."""
    return sa.bindparam(name, type_=kind, required=False)


class Statement:
    """A statement for a `Pool`: its values and rows have asyncpg's types, such as text for an enum."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = cast("SQLCompiler", statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True}))
        self.sql = str(compiled)
        # A literal has its value here; a parameter has None.
        self._arguments = [(name, compiled.params[name]) for name in compiled.positiontup or ()]

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """Return the arguments in the order of the SQL.

        Raises:
            KeyError: a parameter has no value.

        """
        return [values[name] if constant is None else constant for name, constant in self._arguments]
