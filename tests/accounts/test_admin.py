"""How admins list, read and change accounts."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from litestar import Litestar

from conftest import TurnableClock, counted
from factories import Caller, School
from mambo.entitlements.models import Subscription
from mambo.game.models import ActivityDay
from mambo.users.models import User
from mambo.web.principal import Role


async def root(school: School) -> Caller:
    """Return an admin whom no search below finds."""
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


# List


async def test_accounts_are_listed_newest_first(school: School) -> None:
    admin = await school.admin()
    first, second, third = [await school.person() for _ in range(3)]

    page = (await admin.get("/api/admin/users")).json()

    assert [person["id"] for person in page["items"]] == [
        str(person.user_id) for person in (third, second, first, admin)
    ]
    assert page["next_cursor"] is None


async def test_a_listed_account_has_all_fields(school: School, clock: TurnableClock) -> None:
    """They are the same when it is read alone."""
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
async def test_accounts_are_found_by_a_part_of_name_or_email(school: School, search: str, found: list[str]) -> None:
    """In any case; the wildcards of SQL's LIKE are ordinary characters."""
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
async def test_accounts_are_filtered_by_role(school: School, query: dict[str, str], found: list[str]) -> None:
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
async def test_an_invalid_parameter_is_named(school: School, address: str, name: str, value: str) -> None:
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
async def test_an_invalid_parameter_of_one_list_is_named(school: School, address: str, name: str, value: str) -> None:
    admin = await school.admin()

    response = await admin.get(address, params={name: value})

    assert (response.status_code, response.json().get("errors", [{}])[0].get("field")) == (422, name)


@pytest.mark.parametrize("limit", [1, 100])
async def test_the_bounds_of_limit_are_accepted(school: School, limit: int) -> None:
    admin, _ = await school.admin(), await school.person()

    response = await admin.get("/api/admin/users", params={"limit": limit})

    assert (response.status_code, len(response.json()["items"])) == (200, min(limit, 2))


async def test_a_page_has_fifty_accounts_by_default(school: School) -> None:
    admin = await school.admin()
    await asyncio.gather(*(school.person() for _ in range(50)))

    page = (await admin.get("/api/admin/users")).json()

    assert (len(page["items"]), page["next_cursor"] is None) == (50, False)


async def test_pages_list_each_account_once_while_others_register(school: School) -> None:
    """Seven accounts in pages of three; new ones are newer than the first page."""
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


async def test_a_full_last_page_has_no_cursor(school: School) -> None:
    admin = await school.admin()
    for _ in range(5):
        await school.person()
    first = (await admin.get("/api/admin/users?limit=3")).json()

    last = (await admin.get(f"/api/admin/users?limit=3&cursor={first['next_cursor']}")).json()

    assert (len(last["items"]), last["next_cursor"]) == (3, None)


async def test_the_next_page_has_the_same_filters(school: School) -> None:
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
async def test_the_list_for_the_first_web_client_is_a_plain_array(
    school: School, query: str, expected: list[int]
) -> None:
    """It has the same accounts, newest first."""
    admin = await school.admin()
    people = [admin, *[await school.person() for _ in range(5)]]
    accounts = {person["id"]: person for person in (await admin.get("/api/admin/users")).json()["items"]}

    students = (await admin.get(f"/api/admin/students{query}")).json()

    assert students == [accounts[str(people[number].user_id)] for number in expected]


@pytest.mark.parametrize(
    "address",
    [
        *("/api/admin/users", "/api/admin/users?search=ana&limit=1", "/api/admin/students?skip=1"),
        *("/api/admin/users/{id}", "/api/admin/users/{id}/sessions", "/api/auth/sessions", "/api/users/me"),
    ],
)
async def test_a_page_is_read_with_one_statement(school: School, app: Litestar, address: str) -> None:
    """After the one that reads the principal; a search too, if the words are common."""
    admin, _ = await school.admin(), await school.person()

    with counted(app) as statements:
        response = await admin.get(address.replace("{id}", str(admin.user_id)))

    assert (response.status_code, len(statements)) == (200, 2)


# One account


@pytest.mark.parametrize("change", [None, {}, {"tier": "performer"}, {"role": "user"}, {"is_active": False}])
async def test_an_unknown_account_is_not_found(school: School, change: dict[str, Any] | None) -> None:
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
async def test_absent_fields_of_a_change_are_unchanged(school: School, change: dict[str, Any]) -> None:
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
async def test_an_invalid_change_is_refused_with_the_fields_name(school: School, field: str, value: object) -> None:
    """Nothing of the change is stored."""
    admin, ana = await school.admin(), await school.person()
    before = (await admin.get(f"/api/admin/users/{ana.user_id}")).json()
    valid = {"tier": "performer"} if field != "tier" else {"role": "instructor"}

    response = await admin.patch(f"/api/admin/users/{ana.user_id}", valid | {field: value})

    assert (response.status_code, [error["field"] for error in response.json()["errors"]]) == (422, [field])
    assert (await admin.get(f"/api/admin/users/{ana.user_id}")).json() == before


async def test_the_end_of_a_period_is_accepted_in_any_zone_and_returned_in_utc(school: School) -> None:
    admin, ana = await school.admin(), await school.person()

    response = await admin.patch(
        f"/api/admin/users/{ana.user_id}", {"current_period_end": "2026-05-01T02:00:00.250+02:00"}
    )

    returned = response.json()["current_period_end"]
    assert datetime.fromisoformat(returned) == datetime(2026, 5, 1, microsecond=250_000, tzinfo=UTC)
    assert returned.endswith("Z")


# Effects of a change


@pytest.mark.parametrize("role", ["instructor", "user"])
async def test_a_demotion_takes_effect_at_the_next_request(school: School, role: str) -> None:
    """The token still works for what the new role may do."""
    admin, demoted = await school.admin(), await school.admin()

    response = await admin.patch(f"/api/admin/users/{demoted.user_id}", {"role": role})

    assert response.status_code == 200
    assert (await demoted.get("/api/admin/users")).status_code == 403
    assert (await demoted.get("/api/users/me")).json()["role"] == role


async def test_a_promotion_takes_effect_at_the_next_request(school: School) -> None:
    admin, promoted = await school.admin(), await school.person()

    await admin.patch(f"/api/admin/users/{promoted.user_id}", {"role": "admin"})

    assert (await promoted.get("/api/admin/users")).status_code == 200


async def test_disabling_an_account_ends_all_its_sessions(school: School) -> None:
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
    """In the list of courses, in the list of lessons, for the lesson and for its completion."""
    admin, learner = await school.admin(), await school.person()
    world = await school.world(lessons=1, is_free=False)
    [lesson] = await school.lessons_of(world)
    assert await access_to(learner, lesson.id) == [False] * 4

    await admin.patch(f"/api/admin/users/{learner.user_id}", {"subscription_status": status})

    assert await access_to(learner, lesson.id) == [is_open] * 4


async def access_to(learner: Caller, lesson_id: object) -> list[bool]:
    """Return whether each of the four routes treats the only lesson as open."""
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
    """The clock shows noon of 2 March in UTC; without an end the subscription continues."""
    admin, learner = await school.admin(), await school.person(subscribed=True)
    lesson = await school.lesson(await school.level(await school.world(is_free=False)))

    response = await admin.patch(f"/api/admin/users/{learner.user_id}", {"current_period_end": period_end})

    assert response.status_code == 200
    assert await access_to(learner, lesson.id) == [is_open] * 4


async def test_the_end_of_a_period_locks_paid_courses(school: School, clock: TurnableClock) -> None:
    admin, learner = await school.admin(), await school.person()
    lesson = await school.lesson(await school.level(await school.world(is_free=False)))
    end = (clock.now + timedelta(hours=1)).isoformat()
    change = {"subscription_status": "active", "current_period_end": end}
    await admin.patch(f"/api/admin/users/{learner.user_id}", change)
    before = await access_to(learner, lesson.id)

    clock.turn(timedelta(hours=1))

    assert before == [True] * 4
    assert await access_to(learner, lesson.id) == [False] * 4


# The last active admin


@pytest.mark.parametrize("change", [{"role": "user"}, {"role": "instructor"}, {"is_active": False}])
@pytest.mark.parametrize("with_disabled_admin", [False, True])
async def test_the_last_active_admin_cannot_be_removed(
    school: School, change: dict[str, Any], *, with_disabled_admin: bool
) -> None:
    """A disabled admin does not count; nothing of the change is stored."""
    admin = await school.admin()
    if with_disabled_admin:
        await school.person(Role.ADMIN, is_active=False)
    before = (await admin.get(f"/api/admin/users/{admin.user_id}")).json()

    response = await admin.patch(f"/api/admin/users/{admin.user_id}", change | {"tier": "performer"})

    assert response.status_code == 409
    assert (await admin.get(f"/api/admin/users/{admin.user_id}")).json() == before


async def test_other_changes_of_the_last_active_admin_are_allowed(school: School) -> None:
    admin = await school.admin()

    response = await admin.patch(
        f"/api/admin/users/{admin.user_id}", {"role": "admin", "is_active": True, "tier": "performer"}
    )

    assert (response.status_code, response.json()["tier"]) == (200, "performer")


async def test_an_admin_can_be_demoted_while_there_is_another(school: School) -> None:
    admin, _ = await school.admin(), await school.admin()

    response = await admin.patch(f"/api/admin/users/{admin.user_id}", {"role": "user"})

    assert (response.status_code, response.json()["role"]) == (200, "user")


@pytest.mark.parametrize("change", [{"role": "user"}, {"is_active": False}])
async def test_two_admins_who_remove_each_other_concurrently_leave_one(school: School, change: dict[str, Any]) -> None:
    """In each of ten rounds one change succeeds and the other is refused."""
    outcomes = []
    for _ in range(10):
        ana, ben = await school.admin(), await school.admin()
        replies = await asyncio.gather(
            ana.patch(f"/api/admin/users/{ben.user_id}", change), ben.patch(f"/api/admin/users/{ana.user_id}", change)
        )
        outcomes.append((sorted(reply.status_code for reply in replies), await active_admins(school)))
        await demote_admins(school)

    assert all(left == 1 for _, left in outcomes), outcomes
    assert all(first == 200 and second in {401, 403, 409} for (first, second), _ in outcomes), outcomes


async def test_two_admins_who_demote_themselves_concurrently_leave_one(school: School) -> None:
    outcomes = []
    for _ in range(10):
        admins = [await school.admin(), await school.admin()]
        replies = await asyncio.gather(
            *(admin.patch(f"/api/admin/users/{admin.user_id}", {"role": "user"}) for admin in admins)
        )
        outcomes.append((sorted(reply.status_code for reply in replies), await active_admins(school)))
        await demote_admins(school)

    assert outcomes == [([200, 409], 1)] * 10


async def demote_admins(school: School) -> None:
    """Demote all admins, for the next round."""
    async with school.sessions() as session, session.begin():
        await session.execute(sa.update(User).values(role=Role.USER))
