"""How people read and change their own profile."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from conftest import TurnableClock
from factories import Caller, School
from mambo.game.models import ActivityDay
from mambo.users.models import LevelTag, User, UserProfile
from mambo.web.principal import Role

ADDRESSES = pytest.mark.parametrize("address", ["/api/users/me", "/api/auth/me"])


async def profile(person: Caller) -> dict[str, Any]:
    body: dict[str, Any] = (await person.get("/api/users/me")).json()
    return body


# Read


@ADDRESSES
async def test_a_profile_has_all_fields(school: School, clock: TurnableClock, address: str) -> None:
    ana = await school.person(Role.INSTRUCTOR, xp=950, first_name="Ana", last_name="Ruiz", timezone="Europe/Madrid")
    days = [ActivityDay(user_id=ana.user_id, local_date=clock.now.date() - timedelta(days=ago)) for ago in (0, 1, 2)]
    await school.add(*days)

    response = await ana.get(address)

    assert (response.status_code, response.json()) == (
        200,
        {
            "id": str(ana.user_id),
            "email": ana.email,
            "first_name": "Ana",
            "last_name": "Ruiz",
            "role": "instructor",
            "tier": "rookie",
            "xp": 950,
            "level": 3,
            "streak_count": 3,
            "avatar_url": None,
            "current_level_tag": None,
            "timezone": "Europe/Madrid",
            "show_on_leaderboard": True,
        },
    )


@ADDRESSES
async def test_a_profile_requires_a_sign_in(school: School, address: str) -> None:
    response = await school.client.get(address)

    assert response.status_code == 401


async def test_people_read_their_own_profile(school: School) -> None:
    people = [await school.person() for _ in range(3)]

    replies = await asyncio.gather(*(person.get("/api/users/me") for person in people))

    assert [reply.json()["id"] for reply in replies] == [str(person.user_id) for person in people]


# Change


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"first_name": "Beatriz"},
        {"last_name": "Núñez-O'Neil"},
        {"avatar_url": "https://example.com/new.png"},
        {"avatar_url": None},
        {"current_level_tag": "Novice"},
        {"timezone": "America/New_York"},
        {"show_on_leaderboard": False},
        {"first_name": "李", "last_name": "小龍", "current_level_tag": "Advanced", "show_on_leaderboard": False},
    ],
    ids=lambda change: "+".join(change) or "nothing",
)
async def test_absent_fields_of_a_change_are_unchanged(school: School, change: dict[str, Any]) -> None:
    ana = await school.person()
    old = {"avatar_url": "https://example.com/old.png", "current_level_tag": LevelTag.BEGINNER}
    await set_profile(school, ana, **old)
    before = await profile(ana)

    response = await ana.patch("/api/users/me", change)

    assert (response.status_code, response.json()) == (200, before | change)
    assert await profile(ana) == before | change


async def set_profile(school: School, person: Caller, **columns: Any) -> None:
    async with school.sessions() as session, session.begin():
        await session.execute(sa.update(UserProfile).where(UserProfile.user_id == person.user_id).values(columns))


async def test_a_change_does_not_affect_other_profiles(school: School) -> None:
    ana, ben = await school.person(), await school.person()
    before = await profile(ben)

    await ana.patch("/api/users/me", {"first_name": "Changed", "avatar_url": "https://example.com/a.png"})

    assert await profile(ben) == before


async def test_names_are_trimmed(school: School) -> None:
    ana = await school.person()

    response = await ana.patch("/api/users/me", {"first_name": "  Ana María ", "last_name": "\u00a0Ruiz\u3000"})

    assert (response.json()["first_name"], response.json()["last_name"]) == ("Ana María", "Ruiz")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("xp", 1_000_000),
        ("level", 99),
        ("role", "admin"),
        ("tier", "performer"),
        ("subscription_status", "active"),
        ("is_active", True),
        ("email", "new@example.com"),
        ("id", "01a20adb-8cc3-7327-b22d-f7062d8a6542"),
        ("password", "back on two, forward on six"),
        ("timezone_changed_at", None),
        ("firstname", "Ana"),
    ],
)
async def test_a_field_that_people_cannot_change_is_refused(school: School, field: str, value: object) -> None:
    """Nothing of the change is stored."""
    ana = await school.person()
    before = await profile(ana)

    response = await ana.patch("/api/users/me", {"first_name": "Changed", field: value})

    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (422, [field])
    assert response.json()["errors"][0]["code"] == "unknown_field"
    assert await profile(ana) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first_name", ""),
        ("first_name", " \u3000 "),
        ("first_name", None),
        ("first_name", "x" * 201),
        ("last_name", 7),
        ("last_name", None),
        ("avatar_url", ""),
        ("avatar_url", "data:image/svg+xml,x"),
        ("avatar_url", "https://example.com/" + "x" * 2048),
        ("current_level_tag", "Expert"),
        ("current_level_tag", None),
        ("timezone", None),
        ("timezone", 1),
        ("show_on_leaderboard", None),
        ("show_on_leaderboard", "perhaps"),
    ],
)
async def test_an_invalid_value_is_refused_with_the_fields_name(school: School, field: str, value: object) -> None:
    ana = await school.person()
    before = await profile(ana)

    response = await ana.patch("/api/users/me", {field: value})

    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (422, [field])
    assert await profile(ana) == before


@pytest.mark.parametrize("field", ["first_name", "last_name"])
@pytest.mark.parametrize(
    "character",
    ["\u0000", "\t", "\n", "\r", "\u001b", "\u007f", "\u0085", "\u202a", "\u202e", "\u2066", "\u2069"],
    ids=lambda character: f"U+{ord(character):04X}",
)
async def test_control_and_bidirectional_characters_in_names_are_refused(
    school: School, field: str, character: str
) -> None:
    ana = await school.person()
    before = await profile(ana)

    response = await ana.patch("/api/users/me", {field: f"An{character}a"})

    assert (response.status_code, response.json().get("errors", [{}])[0].get("field")) == (422, field)
    assert await profile(ana) == before


async def test_a_line_break_at_the_end_of_an_avatar_url_is_refused(school: School) -> None:
    ana = await school.person()

    response = await ana.patch("/api/users/me", {"avatar_url": "https://example.com/a.png\n"})

    assert response.status_code == 422
    assert (await profile(ana))["avatar_url"] is None


# The time zone


@pytest.mark.parametrize(
    "zone",
    [
        *("", " ", "Mars/Olympus", "Europe", "europe/madrid", "../UTC", "/etc/localtime", "UTC\u0000", "x" * 5000),
        # Files beside the time zones on some machines, or names of the machine's own zone.
        *("localtime", "posix/UTC", "right/UTC"),
    ],
    ids=lambda zone: repr(zone[:20]),
)
async def test_an_unknown_time_zone_is_refused(school: School, zone: str) -> None:
    ana = await school.person()

    response = await ana.patch("/api/users/me", {"timezone": zone})

    assert (response.status_code, response.json().get("errors", [{}])[0].get("field")) == (422, "timezone")
    assert (await profile(ana))["timezone"] == "UTC"


@pytest.mark.parametrize(
    ("wait", "status"),
    [
        (timedelta(0), 409),
        (timedelta(hours=24) - timedelta(microseconds=1), 409),
        (timedelta(hours=24), 200),
        (timedelta(days=6), 200),
    ],
)
async def test_the_time_zone_can_change_once_in_24_hours(
    school: School, clock: TurnableClock, wait: timedelta, status: int
) -> None:
    ana = await school.person()
    await ana.patch("/api/users/me", {"timezone": "Europe/Madrid"})
    clock.turn(wait)

    response = await ana.patch("/api/users/me", {"timezone": "Asia/Tokyo"})

    assert response.status_code == status
    assert (await profile(ana))["timezone"] == ("Asia/Tokyo" if status == 200 else "Europe/Madrid")


async def test_a_change_with_a_refused_time_zone_stores_nothing(school: School) -> None:
    ana = await school.person()
    await ana.patch("/api/users/me", {"timezone": "Europe/Madrid"})
    before = await profile(ana)

    response = await ana.patch(
        "/api/users/me", {"first_name": "Changed", "show_on_leaderboard": False, "timezone": "Asia/Tokyo"}
    )

    assert response.status_code == 409
    assert "24 hours" in response.json()["detail"]
    assert await profile(ana) == before


async def test_the_same_time_zone_is_not_a_change(school: School, clock: TurnableClock) -> None:
    """It is accepted at any time, and does not restart the 24 hours."""
    ana = await school.person()
    await ana.patch("/api/users/me", {"timezone": "Europe/Madrid"})
    clock.turn(timedelta(hours=23))

    same = await ana.patch("/api/users/me", {"timezone": "Europe/Madrid", "first_name": "Beatriz"})

    clock.turn(timedelta(hours=1))
    other = await ana.patch("/api/users/me", {"timezone": "Asia/Tokyo"})
    assert (same.status_code, same.json()["first_name"]) == (200, "Beatriz")
    assert (other.status_code, other.json()["timezone"]) == (200, "Asia/Tokyo")


async def test_of_concurrent_time_zone_changes_one_succeeds(school: School) -> None:
    ana = await school.person()
    zones = ["Europe/Madrid", "Asia/Tokyo", "America/New_York", "Africa/Lagos"]

    replies = await asyncio.gather(*(ana.patch("/api/users/me", {"timezone": zone}) for zone in zones))

    taken = [zone for zone, reply in zip(zones, replies, strict=True) if reply.status_code == 200]
    assert sorted(reply.status_code for reply in replies) == [200, 409, 409, 409]
    assert [(await profile(ana))["timezone"]] == taken


async def test_the_streak_is_that_of_the_local_day(school: School, clock: TurnableClock) -> None:
    """The last active day is yesterday in UTC, but two days ago in Tokyo, where it is past midnight."""
    ana = await school.person()
    await school.add(ActivityDay(user_id=ana.user_id, local_date=clock.now.date() - timedelta(days=1)))
    clock.now = clock.now.replace(hour=20)
    before = await profile(ana)

    response = await ana.patch("/api/users/me", {"timezone": "Asia/Tokyo"})

    assert (before["streak_count"], response.json()["streak_count"]) == (1, 0)


async def test_a_change_sets_no_other_columns(school: School) -> None:
    ana = await school.person(xp=500)

    await ana.patch("/api/users/me", {"first_name": " Beatriz ", "timezone": "Asia/Tokyo"})

    async with school.sessions() as session:
        user, row = (await session.execute(sa.select(User, UserProfile).join(UserProfile))).one()
    assert (user.first_name, user.role, user.is_active, user.email) == ("Beatriz", Role.USER, True, ana.email)
    assert (row.xp, row.timezone, row.timezone_changed_at) == (500, "Asia/Tokyo", school.clock())
