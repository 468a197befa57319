"""Everyone's accounts, as an admin reads and changes them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from conftest import TurnableClock
from factories import Caller, School
from mambo.entitlements.models import Subscription
from mambo.game.models import ActivityDay
from mambo.users.models import User
from mambo.web.principal import Role


async def root(school: School) -> Caller:
    """An admin whom no search for a dancer finds."""
    return await school.person(Role.ADMIN, first_name="Root", last_name="Root", email="root@school.test")


async def dancer(school: School, first_name: str, last_name: str, email: str, **account: Any) -> Caller:
    return await school.person(first_name=first_name, last_name=last_name, email=email, **account)


async def last_names(admin: Caller, **query: Any) -> list[str]:
    page = (await admin.get("/api/admin/users", params=query)).json()
    return [person["last_name"] for person in page["items"]]


async def active_admins(school: School) -> int:
    query = sa.select(sa.func.count()).select_from(User).where(User.role == Role.ADMIN, User.is_active)
    number: int = await school.scalar(query)
    return number


# --- Listing ---


async def test_people_are_listed_the_newest_first(school: School) -> None:
    admin = await school.admin()
    first, second, third = [await school.person() for _ in range(3)]

    page = (await admin.get("/api/admin/users")).json()

    assert [person["id"] for person in page["items"]] == [
        str(person.user_id) for person in (third, second, first, admin)
    ]
    assert page["next_cursor"] is None


async def test_a_listed_person_shows_all_of_their_account(school: School, clock: TurnableClock) -> None:
    """And the same alone."""
    admin = await school.admin()
    ana = await dancer(school, "Ana", "Ruiz", "ana@example.com", xp=400, subscribed=True)
    await school.add(ActivityDay(user_id=ana.user_id, local_date=clock.now.date()))

    [listed, _] = (await admin.get("/api/admin/users")).json()["items"]

    created_at = listed.pop("created_at")
    assert listed == {
        "id": str(ana.user_id),
        "email": "ana@example.com",
        "first_name": "Ana",
        "last_name": "Ruiz",
        "xp": 400,
        "level": 2,
        "streak_count": 1,
        "role": "user",
        "tier": "rookie",
        "subscription_status": "active",
        "current_period_end": None,
        "is_active": True,
    }
    assert created_at.endswith("Z")
    assert (await admin.get(f"/api/admin/users/{ana.user_id}")).json() == listed | {"created_at": created_at}


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("ruiz", ["Ruiz"]),
        ("RUIZ", ["Ruiz"]),
        ("na ru", ["Ruiz"]),
        ("  Ruiz ", ["Ruiz"]),
        ("NÚÑ", ["Núñez"]),
        ("@dance.example", ["Lee", "Ruiz"]),
        ("BEN@", ["Lee"]),
        ("example", ["100% Mambo", "Lee", "Núñez", "Ruiz"]),
        ("", ["100% Mambo", "Lee", "Núñez", "Ruiz", "Root"]),
        ("   ", ["100% Mambo", "Lee", "Núñez", "Ruiz", "Root"]),
        ("%", ["100% Mambo"]),
        ("0% m", ["100% Mambo"]),
        ("_", ["Lee"]),
        ("b_n", ["Lee"]),
        ("r%z", []),
        ("r__z", []),
        ("/", []),
        ("\\", []),
        ("'", []),
        ("nobody", []),
    ],
)
async def test_people_are_found_by_a_part_of_their_name_or_email(school: School, search: str, found: list[str]) -> None:
    """In any case; the characters that SQL's LIKE gives a meaning have none."""
    admin = await root(school)
    await dancer(school, "Ana", "Ruiz", "ana@dance.example")
    await dancer(school, "Eva", "Núñez", "eva@example.com")
    await dancer(school, "B_n", "Lee", "ben@dance.example")
    await dancer(school, "Ed", "100% Mambo", "hundred@example.com")

    names = await last_names(admin, search=search)

    assert names == found
    students = (await admin.get("/api/admin/students", params={"search": search})).json()
    assert [person["last_name"] for person in students] == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"role": "user"}, ["Lee", "Ruiz"]),
        ({"role": "instructor"}, ["Torres"]),
        ({"role": "admin"}, ["Root"]),
        ({"role": "user", "search": "ana"}, ["Ruiz"]),
        ({"role": "instructor", "search": "ruiz"}, []),
    ],
)
async def test_people_are_filtered_by_role(school: School, query: dict[str, str], found: list[str]) -> None:
    admin = await root(school)
    await dancer(school, "Ana", "Ruiz", "ana@example.com")
    await dancer(school, "Ana", "Torres", "torres@example.com", role=Role.INSTRUCTOR)
    await dancer(school, "Ben", "Lee", "ben@example.com", is_active=False)

    names = await last_names(admin, **query)

    assert names == found


@pytest.mark.parametrize("address", ["/api/admin/users", "/api/admin/students"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "101"),
        ("limit", "many"),
        ("limit", ""),
        ("search", "x" * 201),
        ("search", "nul\u0000"),
    ],
)
async def test_a_parameter_that_fails_validation_is_named(school: School, address: str, name: str, value: str) -> None:
    admin = await school.admin()

    response = await admin.get(address, params={name: value})

    assert (response.status_code, response.json().get("errors", [{}])[0].get("field")) == (422, name)


@pytest.mark.parametrize(
    ("address", "name", "value"),
    [
        ("/api/admin/users", "cursor", "next"),
        ("/api/admin/users", "cursor", ""),
        ("/api/admin/users", "cursor", "01a20adb-8cc3-7327-b22d-f7062d8a654"),
        ("/api/admin/users", "role", "dancer"),
        ("/api/admin/students", "skip", "-1"),
        ("/api/admin/students", "skip", str(2**31)),
        ("/api/admin/students", "skip", "few"),
    ],
)
async def test_a_parameter_of_one_list_that_fails_validation_is_named(
    school: School, address: str, name: str, value: str
) -> None:
    admin = await school.admin()

    response = await admin.get(address, params={name: value})

    assert (response.status_code, response.json().get("errors", [{}])[0].get("field")) == (422, name)


@pytest.mark.parametrize("limit", [1, 100])
async def test_the_bounds_of_limit_are_accepted(school: School, limit: int) -> None:
    admin, _ = await school.admin(), await school.person()

    response = await admin.get("/api/admin/users", params={"limit": limit})

    assert (response.status_code, len(response.json()["items"])) == (200, min(limit, 2))


async def test_a_page_holds_fifty_people_unless_asked(school: School) -> None:
    admin = await school.admin()
    await asyncio.gather(*(school.person() for _ in range(50)))

    page = (await admin.get("/api/admin/users")).json()

    assert (len(page["items"]), page["next_cursor"] is None) == (50, False)


async def test_pages_hold_each_person_once_though_others_join_between_them(school: School) -> None:
    """Seven people in pages of three; whoever joins meanwhile is newer than the first page and moves nobody."""
    admin = await school.admin()
    people = [str(admin.user_id), *[str((await school.person()).user_id) for _ in range(6)]]
    pages: list[list[str]] = []
    cursor = None
    while not pages or cursor:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await admin.get("/api/admin/users", params=query)).json()
        pages.append([person["id"] for person in page["items"]])
        cursor = page["next_cursor"]
        await school.person()

    assert [len(page) for page in pages] == [3, 3, 1]
    assert [user_id for page in pages for user_id in page] == people[::-1]


async def test_the_last_page_may_be_full(school: School) -> None:
    """It is still the last: no cursor leads to an empty one."""
    admin = await school.admin()
    for _ in range(5):
        await school.person()
    first = (await admin.get("/api/admin/users?limit=3")).json()

    last = (await admin.get(f"/api/admin/users?limit=3&cursor={first['next_cursor']}")).json()

    assert (len(last["items"]), last["next_cursor"]) == (3, None)


async def test_pages_keep_to_the_search_and_the_role(school: School) -> None:
    admin = await school.admin()
    found = [await dancer(school, "Eva", f"Nr{number}", f"eva{number}@example.com") for number in range(3)]
    await dancer(school, "Eva", "Torres", "torres@example.com", role=Role.INSTRUCTOR)
    await dancer(school, "Ben", "Lee", "ben@example.com")
    query = {"limit": "2", "search": "eva", "role": "user"}
    first = (await admin.get("/api/admin/users", params=query)).json()

    second = (await admin.get("/api/admin/users", params=query | {"cursor": first["next_cursor"]})).json()

    ids = [person["id"] for page in (first, second) for person in page["items"]]
    assert ids == [str(person.user_id) for person in found[::-1]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [5, 4, 3, 2, 1, 0]),
        ("?skip=0&limit=2", [5, 4]),
        ("?skip=2&limit=2", [3, 2]),
        ("?skip=5&limit=2", [0]),
        ("?skip=6", []),
        ("?limit=1", [5]),
        ("?limit=100&skip=3", [2, 1, 0]),
    ],
)
async def test_the_first_web_clients_list_is_a_plain_array(school: School, query: str, expected: list[int]) -> None:
    """Of the same accounts, the newest first."""
    admin = await school.admin()
    people = [admin, *[await school.person() for _ in range(5)]]
    accounts = {person["id"]: person for person in (await admin.get("/api/admin/users")).json()["items"]}

    students = (await admin.get(f"/api/admin/students{query}")).json()

    assert students == [accounts[str(people[number].user_id)] for number in expected]


# --- One account ---


@pytest.mark.parametrize("change", [None, {}, {"tier": "performer"}, {"role": "user"}, {"is_active": False}])
async def test_an_account_that_does_not_exist_is_not_found(school: School, change: dict[str, Any] | None) -> None:
    admin = await school.admin()

    response = await admin.request("GET" if change is None else "PATCH", f"/api/admin/users/{uuid4()}", json=change)

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"role": "instructor"},
        {"role": "admin"},
        {"tier": "social_dancer"},
        {"subscription_status": "trialing"},
        {"subscription_status": "canceled"},
        {"current_period_end": "2026-05-01T00:00:00Z"},
        {"current_period_end": None},
        {"is_active": False},
        {"role": "instructor", "tier": "performer", "subscription_status": "past_due", "is_active": False},
    ],
    ids=lambda change: "+".join(change) or "nothing",
)
async def test_what_a_change_of_an_account_leaves_out_stays(school: School, change: dict[str, Any]) -> None:
    admin, ana, ben = await school.admin(), await school.person(subscribed=True), await school.person()
    await end_period(school, ana, datetime(2026, 4, 1, tzinfo=UTC))
    before = (await admin.get(f"/api/admin/users/{ana.user_id}")).json()
    others = (await admin.get(f"/api/admin/users/{ben.user_id}")).json()

    response = await admin.patch(f"/api/admin/users/{ana.user_id}", change)

    assert before["current_period_end"] == "2026-04-01T00:00:00Z"
    assert (response.status_code, response.json()) == (200, before | change)
    assert (await admin.get(f"/api/admin/users/{ana.user_id}")).json() == before | change
    assert (await admin.get(f"/api/admin/users/{ben.user_id}")).json() == others


async def end_period(school: School, person: Caller, at: datetime) -> None:
    async with school.sessions() as session, session.begin():
        query = sa.update(Subscription).where(Subscription.user_id == person.user_id)
        await session.execute(query.values(current_period_end=at))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("role", "owner"),
        ("role", "ADMIN"),
        ("role", None),
        ("tier", "gold"),
        ("tier", None),
        ("subscription_status", "paid"),
        ("subscription_status", None),
        ("current_period_end", "2026-05-01T00:00:00"),
        ("current_period_end", "2026-05-01"),
        ("current_period_end", "tomorrow"),
        ("is_active", None),
        ("is_active", "perhaps"),
        ("xp", 1_000_000),
        ("email", "new@example.com"),
        ("status", "active"),
    ],
)
async def test_a_change_that_fails_validation_is_refused_with_the_fields_name(
    school: School, field: str, value: object
) -> None:
    """Nothing else of the same change is stored either."""
    admin, ana = await school.admin(), await school.person()
    before = (await admin.get(f"/api/admin/users/{ana.user_id}")).json()
    valid = {"tier": "performer"} if field != "tier" else {"role": "instructor"}

    response = await admin.patch(f"/api/admin/users/{ana.user_id}", valid | {field: value})

    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (422, [field])
    assert (await admin.get(f"/api/admin/users/{ana.user_id}")).json() == before


async def test_a_period_may_end_in_any_zone_and_is_answered_in_utc(school: School) -> None:
    admin, ana = await school.admin(), await school.person()

    response = await admin.patch(
        f"/api/admin/users/{ana.user_id}", {"current_period_end": "2026-05-01T02:00:00.250+02:00"}
    )

    answered = response.json()["current_period_end"]
    assert datetime.fromisoformat(answered) == datetime(2026, 5, 1, microsecond=250_000, tzinfo=UTC)
    assert answered.endswith("Z")


# --- What a change does ---


@pytest.mark.parametrize("role", ["instructor", "user"])
async def test_a_demotion_bites_at_the_next_request(school: School, role: str) -> None:
    """With the token they have; it still opens what their new role may do."""
    admin, demoted = await school.admin(), await school.admin()

    response = await admin.patch(f"/api/admin/users/{demoted.user_id}", {"role": role})

    assert response.status_code == 200
    assert (await demoted.get("/api/admin/users")).status_code == 403
    assert (await demoted.get("/api/users/me")).json()["role"] == role


async def test_a_promotion_opens_at_the_next_request(school: School) -> None:
    admin, promoted = await school.admin(), await school.person()

    await admin.patch(f"/api/admin/users/{promoted.user_id}", {"role": "admin"})

    assert (await promoted.get("/api/admin/users")).status_code == 200


async def test_a_disabled_account_is_signed_out_everywhere_at_the_next_request(school: School) -> None:
    admin, ana = await school.admin(), await school.person()
    elsewhere = await school.sign_in(ana.user_id, ana.email)

    await admin.patch(f"/api/admin/users/{ana.user_id}", {"is_active": False})

    assert (await ana.get("/api/users/me")).status_code == 401
    assert (await elsewhere.get("/api/users/me")).status_code == 401
    assert (await ana.get("/api/courses/worlds")).status_code == 401


@pytest.mark.parametrize(
    ("status", "is_open"),
    [("active", True), ("trialing", True), ("incomplete", False), ("past_due", False), ("canceled", False)],
)
async def test_a_live_subscription_opens_paid_courses_at_the_next_request(
    school: School, status: str, *, is_open: bool
) -> None:
    """Every door at once: the list of courses, their lessons, a lesson, its completion."""
    admin, learner = await school.admin(), await school.person()
    world = await school.world(lessons=1, is_free=False)
    [lesson] = await school.lessons_of(world)
    assert await doors(learner, lesson.id) == [False] * 4

    await admin.patch(f"/api/admin/users/{learner.user_id}", {"subscription_status": status})

    assert await doors(learner, lesson.id) == [is_open] * 4


async def doors(learner: Caller, lesson_id: object) -> list[bool]:
    """Whether the only lesson is open at each door that leads to it."""
    [world] = (await learner.get("/api/courses/worlds")).json()
    [listed] = (await learner.get(f"/api/courses/worlds/{world['id']}/lessons")).json()
    read = await learner.get(f"/api/courses/lessons/{lesson_id}")
    completed = await learner.post(f"/api/courses/lessons/{lesson_id}/complete")
    assert {read.status_code, completed.status_code} <= {200, 403}
    return [not world["is_locked"], not listed["is_locked"], read.status_code == 200, completed.status_code == 200]


@pytest.mark.parametrize(
    ("period_end", "is_open"),
    [
        ("2026-03-02T12:00:01Z", True),
        ("2026-03-02T12:00:00Z", False),
        ("2026-03-02T11:59:59Z", False),
        ("2026-03-02T12:59:59+01:00", False),
        ("2026-03-02T11:00:01-02:00", True),
        (None, True),
    ],
)
async def test_a_subscription_is_live_until_its_period_ends(
    school: School, period_end: str | None, *, is_open: bool
) -> None:
    """It is noon of 2 March in UTC; an open end means it runs on."""
    admin, learner = await school.admin(), await school.person(subscribed=True)
    lesson = await school.lesson(await school.level(await school.world(is_free=False)))

    response = await admin.patch(f"/api/admin/users/{learner.user_id}", {"current_period_end": period_end})

    assert response.status_code == 200
    assert await doors(learner, lesson.id) == [is_open] * 4


async def test_a_period_that_runs_out_locks_paid_courses_by_itself(school: School, clock: TurnableClock) -> None:
    admin, learner = await school.admin(), await school.person()
    lesson = await school.lesson(await school.level(await school.world(is_free=False)))
    end = (clock.now + timedelta(hours=1)).isoformat()
    change = {"subscription_status": "active", "current_period_end": end}
    await admin.patch(f"/api/admin/users/{learner.user_id}", change)
    before = await doors(learner, lesson.id)

    clock.turn(timedelta(hours=1))

    assert before == [True] * 4
    assert await doors(learner, lesson.id) == [False] * 4


# --- The last admin ---


@pytest.mark.parametrize("change", [{"role": "user"}, {"role": "instructor"}, {"is_active": False}])
@pytest.mark.parametrize("with_disabled_admin", [False, True])
async def test_the_last_active_admin_stays(
    school: School, change: dict[str, Any], *, with_disabled_admin: bool
) -> None:
    """A disabled admin does not count; nothing else of the same change is stored."""
    admin = await school.admin()
    if with_disabled_admin:
        await school.person(Role.ADMIN, is_active=False)
    before = (await admin.get(f"/api/admin/users/{admin.user_id}")).json()

    response = await admin.patch(f"/api/admin/users/{admin.user_id}", change | {"tier": "performer"})

    assert response.status_code == 409
    assert (await admin.get(f"/api/admin/users/{admin.user_id}")).json() == before


async def test_the_last_active_admin_may_change_otherwise(school: School) -> None:
    admin = await school.admin()

    response = await admin.patch(
        f"/api/admin/users/{admin.user_id}", {"role": "admin", "is_active": True, "tier": "performer"}
    )

    assert (response.status_code, response.json()["tier"]) == (200, "performer")


async def test_an_admin_may_step_down_where_another_stays(school: School) -> None:
    admin, _ = await school.admin(), await school.admin()

    response = await admin.patch(f"/api/admin/users/{admin.user_id}", {"role": "user"})

    assert (response.status_code, response.json()["role"]) == (200, "user")


@pytest.mark.parametrize("change", [{"role": "user"}, {"is_active": False}])
async def test_of_two_admins_who_remove_each_other_at_once_one_stays(school: School, change: dict[str, Any]) -> None:
    """Ten rounds: one succeeds, the other is refused, and the school has an admin."""
    outcomes = []
    for _ in range(10):
        ana, ben = await school.admin(), await school.admin()
        replies = await asyncio.gather(
            ana.patch(f"/api/admin/users/{ben.user_id}", change), ben.patch(f"/api/admin/users/{ana.user_id}", change)
        )
        outcomes.append((sorted(reply.status_code for reply in replies), await active_admins(school)))
        await retire_admins(school)

    assert all(left == 1 for _, left in outcomes), outcomes
    assert all(first == 200 and second in {401, 403, 409} for (first, second), _ in outcomes), outcomes


async def test_of_two_admins_who_step_down_at_once_one_stays(school: School) -> None:
    outcomes = []
    for _ in range(10):
        admins = [await school.admin(), await school.admin()]
        replies = await asyncio.gather(
            *(admin.patch(f"/api/admin/users/{admin.user_id}", {"role": "user"}) for admin in admins)
        )
        outcomes.append((sorted(reply.status_code for reply in replies), await active_admins(school)))
        await retire_admins(school)

    assert outcomes == [([200, 409], 1)] * 10


async def retire_admins(school: School) -> None:
    """Clear the stage for the next round."""
    async with school.sessions() as session, session.begin():
        await session.execute(sa.update(User).values(role=Role.USER))
