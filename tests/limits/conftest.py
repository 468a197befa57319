"""Rate limiters for these tests, and the two stores in which workers count together."""

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
def redis_counts(cache: Cache) -> Counters:
    return RedisCounters(cache)


@pytest.fixture
def postgres_counts(app: Litestar, school: School) -> Counters:
    del school  # empties the tables
    return PostgresCounters(app.state.resources.pool)


@pytest.fixture(params=["redis", "postgres"])
def counts(request: pytest.FixtureRequest, redis_counts: Counters, postgres_counts: Counters) -> Counters:
    """Each of the two in which workers count together."""
    return redis_counts if request.param == "redis" else postgres_counts


@pytest.fixture
def make_limits(clock: TurnableClock, school: School) -> Callable[..., RateLimiter]:
    """Makes limits by the tests' clock; the rates are those of the table, save for the settings given."""
    del school  # sets the clock

    def make(counts: Counters, *, lifts_loopback: bool = False, **settings: str) -> RateLimiter:
        return RateLimiter(counts, rates(settings), clock, lifts_loopback=lifts_loopback)

    return make
