"""The rules of signing in."""

from datetime import UTC, datetime, timedelta

import pytest

from mambo.auth.rules import (
    REUSE_GRACE,
    device_name,
    is_reuse,
    network_of,
    principal_end,
    refresh_token_end,
    require_timezone,
)
from mambo.errors import Invalid

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("session_days", "token_days"), [(90, 30), (30, 30), (10, 10)])
def test_a_refresh_token_expires_after_thirty_days_or_with_its_session(session_days: int, token_days: int) -> None:
    assert refresh_token_end(NOW, NOW + session_days * DAY) == NOW + token_days * DAY


@pytest.mark.parametrize(
    ("subscription_end", "expected"),
    [(None, 7), (-1, 7), (0, 7), (2, 2), (9, 7)],
    ids=["open end", "over", "over now", "ends before the session", "ends after the session"],
)
def test_a_principal_is_known_until_its_session_or_subscription_ends(
    subscription_end: int | None, expected: int
) -> None:
    period_end = None if subscription_end is None else NOW + subscription_end * DAY

    assert principal_end(NOW + 7 * DAY, period_end, NOW) == NOW + expected * DAY


@pytest.mark.parametrize(
    ("age", "is_child_unused", "expected"),
    [
        (timedelta(0), True, False),
        (REUSE_GRACE, True, False),
        (REUSE_GRACE + SECOND, True, True),
        (timedelta(0), False, True),
        (timedelta(0), None, False),
        (REUSE_GRACE + SECOND, None, True),
    ],
)
def test_a_used_token_is_reused_after_ten_seconds_or_after_its_child_was_used(
    age: timedelta, *, is_child_unused: bool | None, expected: bool
) -> None:
    assert is_reuse(NOW - age, NOW, is_child_unused=is_child_unused) is expected


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Firefox", "Firefox"),
        ("", "unknown"),
        ("\x00\x1b", "unknown"),
        ("a\x1b[2Jb\n", "a[2Jb"),
        ("x" * 500, "x" * 120),
    ],
)
def test_a_device_is_named_by_the_printable_start_of_its_user_agent(user_agent: str, name: str) -> None:
    assert device_name(user_agent) == name


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", None),
        ("", None),
    ],
)
def test_a_network_is_an_ipv4_24_or_an_ipv6_64(host: str, network: str | None) -> None:
    assert network_of(host) == network


def test_an_unknown_time_zone_is_refused() -> None:
    require_timezone("America/New_York")
    with pytest.raises(Invalid, match="timezone is not a time zone"):
        require_timezone("Mars/Olympus")
