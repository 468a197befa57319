"""The one clock: whatever needs the time is handed it, so that a test can turn it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from litestar.datastructures import State

Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


async def provide_now(state: State) -> datetime:
    """The instant of this request, aware, in UTC."""
    clock: Clock = state.clock
    return clock()
