"""When a failing job is tried again."""

from datetime import timedelta

from msgspec import Struct

MAX_DOUBLINGS = 30  # keeps the power small; the longest delay is reached long before


class Retries(Struct, frozen=True):
    """A failing job is tried again after `first`, then after twice as long each time, `longest` at most.

    After `attempts` it has failed for good; None means never.
    """

    first: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(hours=6)
    attempts: int | None = 20

    def delay(self, failures: int) -> timedelta | None:
        """Return the wait after the given number of failures (1 or more); None when the job has failed for good."""
        if self.attempts is not None and failures >= self.attempts:
            return None
        return min(self.first * (1 << min(failures - 1, MAX_DOUBLINGS)), self.longest)
