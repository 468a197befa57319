"""What other features may react to when a learner makes progress."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession


class WorldCompleted(Struct, frozen=True):
    """A learner has completed the last lesson of a world that they had not completed yet.

    A world that gets another lesson later is completed again with it, so a handler that gives something once per world
    has to store that it did. No event is raised when the last lesson that a learner lacks is deleted.
    """

    user_id: UUID
    world_id: UUID
    at: datetime


# A handler runs in the transaction of the completion. If it raises, nothing of the completion is stored.
WorldCompletedHandler: TypeAlias = Callable[[AsyncSession, WorldCompleted], Awaitable[None]]
WorldCompletedHandlers: TypeAlias = Sequence[WorldCompletedHandler]
