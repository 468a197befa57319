"""Bases and field types of what goes in and out as JSON."""

from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct

T = TypeVar("T")
StructT = TypeVar("StructT", bound=Struct)

INT4_MAX = 2**31 - 1
# Control characters, invisible spaces and the marks that reorder text have no place in a one-line field.
# (`$` alone would let Python, not ECMAScript, take a line break at the end.)
END = r"$(?!\n)"
LINE = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069]*" + END
STORABLE = r"^[^\u0000]*" + END  # PostgreSQL's text holds anything but NUL

RequiredLine = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^(?=.*\S)" + LINE[1:])]
Text = Annotated[str, Meta(max_length=20_000, pattern=STORABLE)]
Url = Annotated[
    str, Meta(max_length=2048, pattern=r"^https?://[^\s\u0000-\u001f]+" + END, examples=["https://example.com/a.png"])
]
Position = Annotated[int, Meta(ge=0, le=INT4_MAX)]


class Input(Struct, kw_only=True, forbid_unknown_fields=True):
    """A request body: a field it does not know is an error, so that a typo is never lost."""


class Output(Struct, kw_only=True):
    """A response body."""


class Page(Output, Generic[T]):
    """One page of a list; `next_cursor` fetches the next one and is null at the end."""

    items: list[T]
    next_cursor: str | None


def changes(data: Struct) -> dict[str, Any]:
    """The fields that the client sent, by name: absent means unchanged, null is a value."""
    return {name: value for name in data.__struct_fields__ if (value := getattr(data, name)) is not UNSET}


def as_struct(source: object, struct: type[StructT]) -> StructT:
    """Copy the attributes of `source` that `struct` has."""
    return struct(**{name: getattr(source, name) for name in struct.__struct_fields__})


def to_json(value: Any) -> Any:
    """Plain dicts and lists, as JSONB columns take them."""
    return msgspec.to_builtins(value)
