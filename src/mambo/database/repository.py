"""The bases of all repositories: `Repository` in the unit of work, `ReadRepository` for pages that are only read."""

from typing import Any, ClassVar, Generic, Protocol, TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession

from mambo.database.base import ModelT
from mambo.database.statements import Statement
from mambo.errors import NotFound

RowT = TypeVar("RowT", bound=Struct)

# Cursors of a first page: ids are UUIDs, in order of age.
BEFORE_ALL, AFTER_ALL = UUID(int=0), UUID(int=2**128 - 1)


class Repository(SQLAlchemyAsyncRepository[ModelT]):
    """Loads and changes the rows of one table in the transaction of a session.

    Driver errors are raised as they are: `web.error_handlers` translates them. Nothing is re-read after a write.
    """

    label: ClassVar[str] = "row"
    """What a row is called in the sentence "There is no such ...\""""

    def __init__(self, session: AsyncSession) -> None:
        super().__init__(session=session, auto_refresh=False, wrap_exceptions=False)

    async def get_required(self, **key: Any) -> ModelT:
        """Return the one row with these column values.

        Raises:
            NotFound: there is no such row.

        """
        row = await self.get_one_or_none(**key)
        if row is None:
            raise NotFound(self.label)
        return row

    async def change(self, row_id: UUID, values: dict[str, Any]) -> None:
        """Set columns of the row with this primary key, in one statement; without values do nothing."""
        if values:
            await self.session.execute(sa.update(self.model_type).where(self._key == row_id).values(values))

    async def remove(self, row_id: UUID) -> None:
        """Delete the row with this primary key, in one statement.

        Raises:
            NotFound: there is no such row.

        """
        query = sa.delete(self.model_type).where(self._key == row_id).returning(self._key)
        if await self.session.scalar(query) is None:
            raise NotFound(self.label)

    @property
    def _key(self) -> Any:
        return getattr(self.model_type, self.id_attribute)


class Query(Statement, Generic[RowT]):
    """A SELECT for a `ReadRepository`, whose columns are the fields of the struct `row`.

    It is compiled once, so declare it at module level. Fields that have a default need no column.

    Raises:
        TypeError: a column has no field, or a required field no column.

    """

    def __init__(self, select: sa.Select[*tuple[Any, ...]], row: type[RowT]) -> None:
        super().__init__(select)
        self.row = row
        columns, fields = set(select.selected_columns.keys()), msgspec.structs.fields(row)
        wrong = columns.difference(field.name for field in fields) | {f.name for f in fields if f.required} - columns
        if wrong:
            raise TypeError(f"{row.__name__} and its query differ in {', '.join(sorted(wrong))}.")


class Reader(Protocol):
    """Runs compiled statements: a `Pool`, or a `SessionReader`."""

    async def fetch_all(self, statement: Statement, **values: Any) -> Any:
        """Return all rows."""

    async def fetch_one(self, statement: Statement, **values: Any) -> Any:
        """Return the first row, or None."""


class SessionReader:
    """Runs compiled statements in the transaction of a session, so that they see what it has written."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def fetch_all(self, statement: Statement, **values: Any) -> Any:
        await self._session.flush()
        connection = await self._session.connection()
        return (await connection.exec_driver_sql(statement.sql, tuple(statement.arguments(values)))).mappings().all()

    async def fetch_one(self, statement: Statement, **values: Any) -> Any:
        rows = await self.fetch_all(statement, **values)
        return rows[0] if rows else None


class Search(Struct, Generic[RowT], frozen=True):
    """The queries of a search for a `ReadRepository`.

    An index finds rare words at once and of common words far too many rows, of which a page shows the first. So the
    first rows are read without it; their matches fill a page if the words are common.
    """

    scan: Query[RowT]
    """Returns a page of the matches among the first rows."""
    beyond: Statement
    """Returns a row if there are more rows than `scan` reads."""
    index: Query[RowT]
    """Returns a page of all matches."""


class ReadRepository:
    """Reads rows as structs: a page with one statement on the pool, without a transaction."""

    label: ClassVar[str] = "row"
    """What a row is called in the sentence "There is no such ...\""""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def _all(self, query: Query[RowT] | Search[RowT], **values: Any) -> list[RowT]:
        if isinstance(query, Search):
            rows = await self._all(query.scan, **values)
            if len(rows) == values["limit"] or not await self._reader.fetch_all(query.beyond, **values):
                return rows
            query = query.index
        return [msgspec.convert(dict(row), query.row) for row in await self._reader.fetch_all(query, **values)]

    async def _one(self, query: Query[RowT], **values: Any) -> RowT | None:
        row = await self._reader.fetch_one(query, **values)
        return None if row is None else msgspec.convert(dict(row), query.row)

    async def _required(self, query: Query[RowT], **values: Any) -> RowT:
        """Return the one row of the query.

        Raises:
            NotFound: there is none.

        """
        row = await self._one(query, **values)
        if row is None:
            raise NotFound(self.label)
        return row

    async def _page(
        self,
        query: Query[RowT] | Search[RowT],
        *,
        limit: int,
        **values: Any,
    ) -> tuple[list[RowT], str | None]:
        """Return one page and the cursor of the next one, which is null at the end.

        The query takes one row more than the page holds (`limit`), and is ordered by `id`, which is the cursor.
        """
        rows = await self._all(query, limit=limit + 1, **values)
        page = rows[:limit]
        return page, str(page[-1].id) if len(rows) > limit else None  # type: ignore[attr-defined] # the queries have it
