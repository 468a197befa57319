"""Translates msgspec's validation errors into sentences."""

import enum
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from mambo.errors import FieldProblem

ABSENT_BODY = "'data'"  # Litestar's whole message

# Pattern of msgspec's message, the rest of a sentence that begins with the field's name, and the code.
PHRASES = (
    (r"Object missing required field `(?P<field>.+)`", "is required", "missing"),
    (r"Missing required argument", "is required", "missing"),
    (r"Object contains unknown field `(?P<field>.+)`", "is not known here", "unknown_field"),
    (r"Expected `str` of length >= 1", "must not be empty", "too_short"),
    (r"Expected `str` of length >= (\d+)", r"must have at least \1 characters", "too_short"),
    (r"Expected `str` of length <= (\d+)", r"must have at most \1 characters", "too_long"),
    (r"Expected `(?:array|list)` of length >= (\d+)", r"must have at least \1 entries", "too_short"),
    (r"Expected `(?:array|list|object)` of length <= (\d+)", r"must have at most \1 entries", "too_long"),
    (r"Expected `str` matching regex .*", "has characters or a form that are not accepted", "wrong_format"),
    (r"Expected `int` (>=|<=|<|>) (-?\d+)", r"must be a whole number \1 \2", "out_of_range"),
    (r"Invalid enum value .*", "must be one of {accepted}", "not_accepted"),
    (r"Invalid value .*", "is not one of the accepted values", "not_accepted"),
    (r"Invalid UUID", "must be a UUID", "wrong_format"),
    (r"Invalid RFC3339.*", "must be a date and time with a zone, as in 2026-01-31T12:00:00Z", "wrong_format"),
    (r"Expected `(.+)`, got `null`", "must not be null", "wrong_type"),
    (r"Expected `int.*", "must be a whole number", "wrong_type"),
    (r"Expected `bool.*", "must be true or false", "wrong_type"),
    (r"Expected `uuid.*", "must be a UUID", "wrong_format"),
    (r"Expected `datetime.*", "must be a date and time with a zone, as in 2026-01-31T12:00:00Z", "wrong_type"),
    (r"Expected `array.*", "must be a list", "wrong_type"),
    (r"Expected `object.*", "must be an object", "wrong_type"),
    (r"Expected `str.*", "must be text", "wrong_type"),
)


def describe(path: str, message: str, annotations: dict[str, Any]) -> FieldProblem:
    """Return the problem that msgspec's `message` about `path` describes.

    `annotations` are those of the handler's parameters.
    """
    if message == ABSENT_BODY:
        return FieldProblem("body", "is required as JSON", "missing")
    field = path.removeprefix("data").removeprefix(".")
    for pattern, phrase, code in PHRASES:
        if found := re.fullmatch(pattern, message):
            if named := found.groupdict().get("field"):
                field = f"{field}.{named}" if field else named
            words = found.expand(phrase)
            if "{accepted}" in words:
                words = words.format(accepted=", ".join(accepted_values(field, annotations)) or "the accepted values")
            return FieldProblem(field or "body", words, code)
    return FieldProblem(field or "body", "is not accepted", "invalid_value")


def accepted_values(field: str, annotations: dict[str, Any]) -> list[str]:
    """Return the values of the enum or literal that is the type of `field`."""
    names = re.sub(r"\[[^]]*\]", "", field).split(".")
    found = [annotations[names[0]]] if names[0] in annotations else [annotations.get("data")]
    for name in names if names[0] not in annotations else names[1:]:
        structs = [t for t in parts_of(found) if isinstance(t, type) and issubclass(t, Struct)]
        found = [hints[name] for hints in map(typing.get_type_hints, structs) if name in hints]
    kinds = list(parts_of(found))
    enums = [t for t in kinds if isinstance(t, type) and issubclass(t, enum.Enum)]
    return [t for t in kinds if isinstance(t, str)] + [str(member.value) for kind in enums for member in kind]


def is_body_required(annotations: dict[str, Any]) -> bool:
    return type(None) not in parts_of([annotations.get("data")])


def parts_of(annotations: list[Any]) -> Iterator[Any]:
    """Yield the types and literal values inside annotations: those of unions, lists, Literal and Annotated."""
    for annotation in annotations:
        inside = typing.get_args(annotation)
        if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
            yield from parts_of([part for part in inside if part is not annotation])
        else:
            yield annotation
