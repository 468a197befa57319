"""When a failing job is tried again."""

from datetime import timedelta

import pytest

from mambo.jobs.rules import Retries

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("failures", "delay"), [(1, HOUR), (2, 2 * HOUR), (3, 4 * HOUR), (4, 5 * HOUR), (5, 5 * HOUR), (6, None), (7, None)]
)
def test_the_delay_doubles_up_to_the_longest_until_the_last_attempt(failures: int, delay: timedelta | None) -> None:
    assert Retries(HOUR, 5 * HOUR, attempts=6).delay(failures) == delay


def test_without_a_number_of_attempts_a_job_is_retried_for_ever() -> None:
    assert Retries(HOUR, 5 * HOUR, attempts=None).delay(10**6) == 5 * HOUR
