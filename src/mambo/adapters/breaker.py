"""Lets a service that is down cost nothing: after failures in a row, callers are refused at once for a while."""

from collections.abc import Callable
from types import TracebackType

from circuitbreaker import CircuitBreaker


class Breaker(CircuitBreaker):  # type: ignore[misc] # the library has no types
    """Refuses to be entered while open; once the recovery time is over, one caller at a time may try.

    The library checks only in its decorator, lets everyone in at once, and takes a cancelled call for a success.
    `refusal` makes the error, of the whole seconds until someone may try.
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
        self._is_probing = False

    def __enter__(self) -> None:
        if self.opened or (self._is_probing and not self.closed):
            raise self._refusal(max(self.open_remaining, 1))
        self._is_probing = not self.closed

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_probing = False
        if exc_type is None or issubclass(exc_type, Exception):
            super().__exit__(exc_type, exc_value, traceback)
