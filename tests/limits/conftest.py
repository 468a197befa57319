"""Rate limiters, and the two stores of counters that workers share."""

from collections.abc import Callable

import pytest
from litestar import Litestar

from conftest import TurnableClock
from factories import School
from mambo.adapters.cache import Cache
from mambo.adapters.counters import Counters, RedisCounters
from mambo.limits.repository import PostgresCounters
from mambo.limits.rules import rates
from mambo.limits.service import RateLimiter


@pytest.fixture
def redis_counters(cache: Cache) -> Counters:
    return RedisCounters(cache)


@pytest.fixture
def postgres_counters(app: Litestar, school: School) -> Counters:
    del school  # empties the tables
    return PostgresCounters(app.state.resources.pool)


@pytest.fixture(params=["redis", "postgres"])
def counters(request: pytest.FixtureRequest, redis_counters: Counters, postgres_counters: Counters) -> Counters:
    """Counters in each of the two stores."""
    return redis_counters if request.param == "redis" else postgres_counters


@pytest.fixture
def make_limiter(clock: TurnableClock, school: School) -> Callable[..., RateLimiter]:
    """Create rate limiters with the clock of the tests; `settings` change the default rates."""
    del school  # sets the clock

    def make(counters: Counters, *, lifts_loopback: bool = False, **settings: str) -> RateLimiter:
        return RateLimiter(counters, rates(settings), clock, lifts_loopback=lifts_loopback)

    return make
