"""Bases and field types of request and response bodies."""

from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct

T = TypeVar("T")
StructT = TypeVar("StructT", bound=Struct)

INT4_MAX = 2**31 - 1
# A line has no control characters, invisible spaces, or marks that reorder text. In Python, unlike in ECMAScript, `$`
# also matches before a line break at the end.
END = r"$(?!\n)"
LINE = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069]*" + END
STORABLE = r"^[^\u0000]*" + END  # PostgreSQL's text cannot hold NUL

RequiredLine = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^(?=.*\S)" + LINE[1:])]
Text = Annotated[str, Meta(max_length=20_000, pattern=STORABLE)]
Url = Annotated[
    str, Meta(max_length=2048, pattern=r"^https?://[^\s\u0000-\u001f]+" + END, examples=["https://example.com/a.png"])
]
Position = Annotated[int, Meta(ge=0, le=INT4_MAX)]


class Input(Struct, kw_only=True, forbid_unknown_fields=True):
    """A request body. An unknown field is an error, so that a misspelt one is not ignored."""


class Output(Struct, kw_only=True):
    """A response body."""


class Page(Output, Generic[T]):
    """One page of a list; `next_cursor` is the cursor of the next page, and null on the last one."""

    items: list[T]
    next_cursor: str | None


def changes(data: Struct) -> dict[str, Any]:
    """Return the fields that the client sent, by name."""
    return {name: value for name in data.__struct_fields__ if (value := getattr(data, name)) is not UNSET}


def as_struct(source: object, struct: type[StructT]) -> StructT:
    """Return a struct with the attributes of `source` that have the names of its fields."""
    return struct(**{name: getattr(source, name) for name in struct.__struct_fields__})


def to_json(value: Any) -> Any:
    """Return plain dicts and lists, as a JSONB column takes them."""
    return msgspec.to_builtins(value)
