"""The declarative base, and column types that models share."""

from datetime import datetime
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from advanced_alchemy.base import AdvancedDeclarativeBase, CommonTableAttributes, orm_registry
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

orm_registry.update_type_annotation_map(
    {
        UUID: sa.Uuid(),
        str: sa.Text(),
        datetime: sa.DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
    }
)
metadata = orm_registry.metadata


class Base(CommonTableAttributes, AdvancedDeclarativeBase):
    """The base of every model. `info["problem"]` of a constraint is the `detail` of the 409 when it is violated."""

    __abstract__ = True


class Identified(Base):
    """A table with a UUIDv7 primary key, made here so that rows insert in batches, and ordered by age."""

    __abstract__ = True

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7, sort_order=-100)
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now(), sort_order=100)


ModelT = TypeVar("ModelT", bound=Base)


def one_of(enum: type[Enum], *, name: str | None = None) -> sa.Enum:
    """Return the type of a text column that holds values of `enum`, with a check constraint.

    `name` is that of the constraint, if it is not the class name.
    """
    return sa.Enum(
        enum,
        native_enum=False,
        create_constraint=True,
        length=20,
        name=name or enum.__name__.lower(),
        values_callable=lambda members: [member.value for member in members],
    )
