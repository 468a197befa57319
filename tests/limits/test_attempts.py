"""Signing in: failures are counted, however many come at once, and right passwords are not."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from conftest import TurnableClock
from mambo.adapters.counters import Counters
from mambo.errors import NotSignedIn, TooMany, Unavailable
from mambo.limits.rules import SIGN_IN_ACCOUNT, SIGN_IN_ADDRESS, SIGN_IN_ALL
from mambo.limits.service import RateLimiter

ANA, HOME = "ana@example.com", "203.0.113.7"
MakeLimits = Callable[..., RateLimiter]


@pytest.fixture
def limits(make_limits: MakeLimits, counts: Counters) -> RateLimiter:
    return make_limits(counts)


async def succeed(limits: RateLimiter, account: str = ANA, address: str = HOME) -> bool:
    """Whether somebody with the right password gets in."""
    try:
        async with limits.attempt((SIGN_IN_ADDRESS, address), (SIGN_IN_ACCOUNT, account), (SIGN_IN_ALL, "")):
            return True
    except TooMany:
        return False


async def fail(limits: RateLimiter, account: str = ANA, address: str = HOME, error: Exception | None = None) -> bool:
    """Whether somebody with a wrong password gets as far as its being checked."""
    try:
        async with limits.attempt((SIGN_IN_ADDRESS, address), (SIGN_IN_ACCOUNT, account), (SIGN_IN_ALL, "")):
            raise error or NotSignedIn
    except TooMany:
        return False
    except (NotSignedIn, Unavailable):
        return True


async def test_after_ten_failures_the_right_password_is_refused_too(limits: RateLimiter) -> None:
    checked = [await fail(limits) for _ in range(11)]

    assert checked == [True] * 10 + [False]
    assert not await succeed(limits)
    assert await succeed(limits, "bob@example.com")


async def test_ten_failures_from_ten_places_are_ten_on_one_account(limits: RateLimiter) -> None:
    for number in range(10):
        await fail(limits, address=f"203.0.113.{number}")

    assert not await succeed(limits)


async def test_failures_on_many_accounts_are_counted_for_the_address(limits: RateLimiter) -> None:
    checked = [await fail(limits, f"{number}@example.com") for number in range(31)]

    assert checked == [True] * 30 + [False]
    assert await succeed(limits, address="198.51.100.1")


async def test_failures_from_everywhere_are_counted_for_all(make_limits: MakeLimits, counts: Counters) -> None:
    limits = make_limits(counts, LIMIT_SIGN_IN_ALL="3/5min")

    checked = [await fail(limits, f"{n}@example.com", f"203.0.113.{n}") for n in range(4)]

    assert checked == [True, True, True, False]


async def test_a_classroom_signs_in_from_one_address(limits: RateLimiter) -> None:
    assert all([await succeed(limits, f"{number}@example.com") for number in range(60)])


async def test_success_clears_the_count_of_the_account(limits: RateLimiter) -> None:
    for _ in range(9):
        await fail(limits)
    await succeed(limits)

    assert [await fail(limits) for _ in range(11)] == [True] * 10 + [False]


async def test_success_does_not_clear_what_failed_from_the_address(limits: RateLimiter) -> None:
    """Or an attacker would sign in to an account of their own in between."""
    for number in range(30):
        await fail(limits, f"{number}@example.com")
        await succeed(limits, "mallory@example.com")

    assert not await fail(limits, "another@example.com")


async def test_two_hundred_guesses_at_once_are_ten(limits: RateLimiter) -> None:
    checked = await asyncio.gather(*(fail(limits, address=f"203.0.113.{number}") for number in range(200)))

    assert sum(checked) == 10


async def test_what_failed_for_another_reason_does_not_count(limits: RateLimiter) -> None:
    """Such as a queue that was full: no password was checked."""
    for _ in range(31):
        await fail(limits, error=Unavailable("Busy."))

    assert await succeed(limits)


async def test_an_attempt_that_is_refused_counts_for_nothing_else(make_limits: MakeLimits, counts: Counters) -> None:
    """A victim of someone else's guesses does not use up the limit of the classroom, nor an attacker that of all."""
    limits = make_limits(counts, LIMIT_SIGN_IN_ALL="12/5min")
    for _ in range(50):
        await fail(limits)

    assert [await fail(limits, "bob@example.com") for _ in range(3)] == [True, True, False]


async def test_who_comes_while_others_are_being_decided_is_told_to_come_again_at_once(
    make_limits: MakeLimits, counts: Counters
) -> None:
    limits = make_limits(counts, LIMIT_SIGN_IN_ADDRESS="1/5min")

    async with limits.attempt((SIGN_IN_ADDRESS, HOME)):
        with pytest.raises(TooMany) as refused:
            await limits.hit(SIGN_IN_ADDRESS, HOME)

    assert refused.value.headers["Retry-After"] == "1"
    await limits.hit(SIGN_IN_ADDRESS, HOME)


async def test_waiting_as_long_as_told_is_enough_and_a_second_less_is_not(
    limits: RateLimiter, clock: TurnableClock
) -> None:
    for _ in range(10):
        await fail(limits)
    clock.turn(timedelta(seconds=100))
    with pytest.raises(
        TooMany, match=r"Too many sign-ins to this account failed\. Try again in 4 minutes\."
    ) as refused:
        await limits.hit(SIGN_IN_ACCOUNT, ANA)

    wait = int(refused.value.headers["Retry-After"])
    clock.turn(timedelta(seconds=wait - 1))
    assert not await succeed(limits)
    clock.turn(timedelta(seconds=1))
    assert await succeed(limits)


async def test_what_is_forgiven_starts_from_nothing(limits: RateLimiter) -> None:
    for _ in range(10):
        await fail(limits)

    await limits.clear(SIGN_IN_ACCOUNT, ANA)

    assert await succeed(limits)
