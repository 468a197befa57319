"""Sign-ins: failures are counted, concurrent ones too, and successes are not."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from conftest import TurnableClock
from mambo.adapters.counters import Counters
from mambo.errors import NotSignedIn, TooMany, Unavailable
from mambo.limits.rules import SIGN_IN_ACCOUNT, SIGN_IN_ADDRESS, SIGN_IN_ALL
from mambo.limits.service import RateLimiter

ANA, ADDRESS = "ana@example.com", "203.0.113.7"
MakeLimiter = Callable[..., RateLimiter]


@pytest.fixture
def limiter(make_limiter: MakeLimiter, counters: Counters) -> RateLimiter:
    return make_limiter(counters)


async def succeed(limiter: RateLimiter, account: str = ANA, address: str = ADDRESS) -> bool:
    """Sign in with the right password, and return whether the limits allow it."""
    try:
        async with limiter.attempt((SIGN_IN_ADDRESS, address), (SIGN_IN_ACCOUNT, account), (SIGN_IN_ALL, "")):
            return True
    except TooMany:
        return False


async def fail(
    limiter: RateLimiter, account: str = ANA, address: str = ADDRESS, error: Exception | None = None
) -> bool:
    """Sign in with a wrong password, and return whether the limits allow a check of it."""
    try:
        async with limiter.attempt((SIGN_IN_ADDRESS, address), (SIGN_IN_ACCOUNT, account), (SIGN_IN_ALL, "")):
            raise error or NotSignedIn
    except TooMany:
        return False
    except (NotSignedIn, Unavailable):
        return True


async def test_after_ten_failures_the_right_password_is_refused(limiter: RateLimiter) -> None:
    checked = [await fail(limiter) for _ in range(11)]

    assert checked == [True] * 10 + [False]
    assert not await succeed(limiter)
    assert await succeed(limiter, "bob@example.com")


async def test_failures_from_many_addresses_count_for_one_account(limiter: RateLimiter) -> None:
    for number in range(10):
        await fail(limiter, address=f"203.0.113.{number}")

    assert not await succeed(limiter)


async def test_failures_of_many_accounts_count_for_one_address(limiter: RateLimiter) -> None:
    checked = [await fail(limiter, f"{number}@example.com") for number in range(31)]

    assert checked == [True] * 30 + [False]
    assert await succeed(limiter, address="198.51.100.1")


async def test_failures_of_all_accounts_and_addresses_count_together(
    make_limiter: MakeLimiter, counters: Counters
) -> None:
    limiter = make_limiter(counters, LIMIT_SIGN_IN_ALL="3/5min")

    checked = [await fail(limiter, f"{n}@example.com", f"203.0.113.{n}") for n in range(4)]

    assert checked == [True, True, True, False]


async def test_sixty_accounts_can_sign_in_from_one_address(limiter: RateLimiter) -> None:
    assert all([await succeed(limiter, f"{number}@example.com") for number in range(60)])


async def test_success_clears_the_count_of_the_account(limiter: RateLimiter) -> None:
    for _ in range(9):
        await fail(limiter)
    await succeed(limiter)

    assert [await fail(limiter) for _ in range(11)] == [True] * 10 + [False]


async def test_success_does_not_clear_the_count_of_the_address(limiter: RateLimiter) -> None:
    """An attacker could else sign in to an account of their own in between."""
    for number in range(30):
        await fail(limiter, f"{number}@example.com")
        await succeed(limiter, "mallory@example.com")

    assert not await fail(limiter, "another@example.com")


async def test_ten_of_two_hundred_concurrent_guesses_are_checked(limiter: RateLimiter) -> None:
    checked = await asyncio.gather(*(fail(limiter, address=f"203.0.113.{number}") for number in range(200)))

    assert sum(checked) == 10


async def test_other_errors_do_not_count(limiter: RateLimiter) -> None:
    """If the queue for hashing is full, for example, no password was checked."""
    for _ in range(31):
        await fail(limiter, error=Unavailable("Busy."))

    assert await succeed(limiter)


async def test_a_refused_attempt_counts_for_no_other_limit(make_limiter: MakeLimiter, counters: Counters) -> None:
    """Guesses at one account use up neither the limit of the address nor that of all sign-ins."""
    limiter = make_limiter(counters, LIMIT_SIGN_IN_ALL="12/5min")
    for _ in range(50):
        await fail(limiter)

    assert [await fail(limiter, "bob@example.com") for _ in range(3)] == [True, True, False]


async def test_while_an_attempt_runs_retry_after_is_one_second(make_limiter: MakeLimiter, counters: Counters) -> None:
    limiter = make_limiter(counters, LIMIT_SIGN_IN_ADDRESS="1/5min")

    async with limiter.attempt((SIGN_IN_ADDRESS, ADDRESS)):
        with pytest.raises(TooMany) as refused:
            await limiter.hit(SIGN_IN_ADDRESS, ADDRESS)

    assert refused.value.headers["Retry-After"] == "1"
    await limiter.hit(SIGN_IN_ADDRESS, ADDRESS)


async def test_retry_after_is_exact(limiter: RateLimiter, clock: TurnableClock) -> None:
    for _ in range(10):
        await fail(limiter)
    clock.turn(timedelta(seconds=100))
    with pytest.raises(
        TooMany, match=r"Too many sign-ins to this account failed\. Try again in 4 minutes\."
    ) as refused:
        await limiter.hit(SIGN_IN_ACCOUNT, ANA)

    wait = int(refused.value.headers["Retry-After"])
    clock.turn(timedelta(seconds=wait - 1))
    assert not await succeed(limiter)
    clock.turn(timedelta(seconds=1))
    assert await succeed(limiter)


async def test_a_cleared_count_starts_at_zero(limiter: RateLimiter) -> None:
    for _ in range(10):
        await fail(limiter)

    await limiter.clear(SIGN_IN_ACCOUNT, ANA)

    assert await succeed(limiter)
