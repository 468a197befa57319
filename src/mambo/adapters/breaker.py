"""A circuit breaker: after consecutive failures it refuses calls for a while."""

from collections.abc import Callable
from types import TracebackType

from circuitbreaker import CircuitBreaker


class Breaker(CircuitBreaker):  # type: ignore[misc] # the library has no types
    """A context manager around each call. After the recovery time it admits one trial call at a time.

    The library's own class checks its state in the decorator only, admits all calls after the recovery time, and
    counts a cancelled call as a success. `refusal` creates the error of a refused call, given the whole seconds until
    the next trial call.
    """

    def __init__(
        self,
        *,
        failures: int,
        recovery_seconds: float,
        is_failure: Callable[[type[Exception], Exception], bool],
        refusal: Callable[[int], Exception],
    ) -> None:
        super().__init__(failures, recovery_seconds, is_failure)
        self._refusal = refusal
        self._has_trial = False

    def __enter__(self) -> None:
        if self.opened or (self._has_trial and not self.closed):
            raise self._refusal(max(self.open_remaining, 1))
        self._has_trial = not self.closed

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._has_trial = False
        if exc_type is None or issubclass(exc_type, Exception):
            super().__exit__(exc_type, exc_value, traceback)
