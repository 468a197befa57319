"""Streaks compared with a slow, obvious model: learners who act at any time, and change time zones."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conftest import START, TurnableClock
from factories import Caller, School
from mambo.game.models import ActivityDay, ActivityReason
from mambo.game.repository import ActivityRepository
from mambo.game.rules import STREAK_DAYS_SHOWN, local_date, may_change_timezone, streak_of

DAY = timedelta(days=1)
# Both sides of the date line, one that changed sides, DST of half an hour and of an hour, an offset in quarters.
ZONES = [
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kathmandu",
    "UTC",
]
# Around the day that Apia skipped, both changes of DST, a leap day, and a year and a century without one.
BEGINNINGS = [
    datetime(2011, 12, 28, tzinfo=UTC),
    datetime(2026, 3, 7, tzinfo=UTC),
    datetime(2026, 10, 24, tzinfo=UTC),
    datetime(2028, 2, 27, tzinfo=UTC),
    datetime(2027, 2, 27, tzinfo=UTC),
    datetime(2100, 2, 27, tzinfo=UTC),
]


class Step(NamedTuple):
    """Wait, then act, or change the time zone."""

    wait: timedelta
    zone: str | None


waits = st.one_of(
    st.integers(0, 6 * 60), st.integers(22 * 60, 26 * 60), st.sampled_from([0, 23 * 60, 24 * 60, 25 * 60, 3 * 24 * 60])
).map(lambda minutes: timedelta(minutes=minutes))
steps = st.builds(Step, waits, st.one_of(st.none(), st.none(), st.sampled_from(ZONES)))
histories = st.tuples(st.sampled_from(BEGINNINGS), st.sampled_from(ZONES), st.lists(steps, max_size=12))
History = tuple[datetime, str, list[Step]]

APIA = (datetime(2011, 12, 30, 9, 0, tzinfo=UTC), "Pacific/Apia", [Step(DAY * 0, None), Step(timedelta(hours=2), None)])
FARMED = (START, "Pacific/Pago_Pago", [Step(DAY * 0, None), Step(DAY * 0, "Pacific/Kiritimati"), Step(DAY * 0, None)])


class Model:
    """A paper calendar on which a person crosses out days."""

    def __init__(self, zone: str) -> None:
        self.zone, self.moved_at = zone, datetime.min.replace(tzinfo=UTC)
        self.crossed_out: set[date] = set()

    def today(self, now: datetime) -> date:
        offset = now.astimezone(ZoneInfo(self.zone)).utcoffset()
        assert offset is not None
        return (now.replace(tzinfo=None) + offset).date()

    def move(self, zone: str, now: datetime) -> bool:
        if zone != self.zone and now >= self.moved_at + timedelta(hours=24):
            self.zone, self.moved_at = zone, now
            return True
        return False

    def act(self, now: datetime) -> None:
        if all(day < self.today(now) for day in self.crossed_out):
            self.crossed_out.add(self.today(now))

    def run_that_ends_on(self, day: date) -> int:
        length = 0
        while day in self.crossed_out:
            length, day = length + 1, day - DAY
        return length

    def read(self, now: datetime) -> tuple[int, int, bool, list[date]]:
        """Return the current and the longest streak, whether today is active, and the active days that are shown."""
        newest = max(self.crossed_out, default=date.min)
        is_alive = newest >= self.today(now) - DAY
        last_shown = max(newest, self.today(now))
        return (
            self.run_that_ends_on(newest) if is_alive else 0,
            max((self.run_that_ends_on(day) for day in self.crossed_out), default=0),
            newest >= self.today(now),
            sorted(day for day in self.crossed_out if (last_shown - day).days < STREAK_DAYS_SHOWN),
        )


def runs_of(days: Iterable[date]) -> list[tuple[date, date]]:
    """Return the first and the last day of each run, as the repository does."""
    runs: list[tuple[date, date]] = []
    for day in days:
        if runs and runs[-1][1] == day - DAY:
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return runs


@given(histories)
@example(APIA)
@example(FARMED)
def test_a_streak_equals_the_model(history: History) -> None:
    """After each step. With `--hypothesis-profile=thorough` there are 100 000 examples."""
    now, zone, steps = history
    model, moved_at = Model(zone), None
    days: list[date] = []
    for step in steps:
        now += step.wait
        if step.zone is None:
            model.act(now)
            if (today := local_date(now, zone)) > max(days, default=date.min):
                days.append(today)
        elif step.zone != zone and may_change_timezone(moved_at, now):
            model.move(step.zone, now)
            zone, moved_at = step.zone, now
        streak = streak_of(runs_of(days), local_date(now, zone))

        assert zone == model.zone
        shown = [day for day in streak.days if day in days]
        assert (streak.current, streak.longest, streak.is_today_done, shown) == model.read(now)
        assert len(streak.days) == STREAK_DAYS_SHOWN


@given(histories)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(APIA)
@example(FARMED)
async def test_the_streak_of_the_api_equals_the_model(school: School, clock: TurnableClock, history: History) -> None:
    """The learner changes the time zone over the API."""
    clock.now, zone, steps = history
    model = Model(zone)
    ana = await school.person(timezone=zone)
    for step in steps:
        clock.turn(step.wait)
        if step.zone is None:
            model.act(clock.now)
            await act(school, ana, clock.now)
        else:
            model.move(step.zone, clock.now)
            await (await school.sign_in(ana.user_id, ana.email)).patch("/api/users/me", {"timezone": step.zone})

    streak = (await (await school.sign_in(ana.user_id, ana.email)).get("/api/progress/streak")).json()

    assert streak["timezone"] == model.zone
    assert summary_of(streak) == model.read(clock.now)
    assert streak["today"] == str(model.today(clock.now))


async def act(school: School, learner: Caller, at: datetime) -> None:
    async with school.sessions() as session, session.begin():
        await ActivityRepository(session).record(learner.user_id, ActivityReason.LESSON, at)


def summary_of(streak: dict[str, Any]) -> tuple[int, int, bool, list[date]]:
    active = [date.fromisoformat(day["date"]) for day in streak["days"] if day["is_active"]]
    return streak["current"], streak["longest"], streak["today_done"], active


async def test_a_streak_shows_thirty_days_with_their_reasons(school: School, clock: TurnableClock) -> None:
    """The reason of a day is its first activity."""
    world = await school.world(lessons=1)
    [lesson] = await school.lessons_of(world)
    account = {"email": "ana@example.com", "password": "back on two", "first_name": "Ana", "last_name": "Ruiz"}
    registered = (await school.client.post("/api/auth/register", json=account)).json()
    headers = {"Authorization": f"Bearer {registered['access_token']}"}
    await school.client.post(f"/api/courses/lessons/{lesson.id}/complete", headers=headers)
    ben = await school.person()
    await ben.post(f"/api/courses/lessons/{lesson.id}/complete")
    clock.turn(DAY)

    of_ana = (await school.client.get("/api/progress/streak", headers=headers)).json()
    of_ben = (await ben.get("/api/progress/streak")).json()

    assert of_ana["days"][-2:] == [
        {"date": "2026-03-02", "is_active": True, "reason": "sign_in"},
        {"date": "2026-03-03", "is_active": False, "reason": None},
    ]
    assert of_ben["days"][-2] == {"date": "2026-03-02", "is_active": True, "reason": "lesson"}
    assert [len(streak["days"]) for streak in (of_ana, of_ben)] == [30, 30]
    assert (of_ana["current"], of_ana["today_done"], of_ana["today"]) == (1, False, "2026-03-03")


async def test_the_shown_days_begin_29_days_before_today(school: School) -> None:
    """Earlier days count for the longest streak."""
    ana = await school.person()
    today = START.date()
    days = [today - back * DAY for back in (31, 30, 29, 27)]
    await school.add(*(ActivityDay(user_id=ana.user_id, local_date=day, reason=None) for day in days))

    streak = (await ana.get("/api/progress/streak")).json()

    assert summary_of(streak) == (0, 3, False, [today - 29 * DAY, today - 27 * DAY])
    assert (streak["days"][0]["date"], streak["days"][-1]["date"]) == (str(today - 29 * DAY), str(today))
    assert streak["days"][0] == {"date": str(today - 29 * DAY), "is_active": True, "reason": None}


async def test_each_shown_day_has_its_own_reason(school: School) -> None:
    """Also in a run that begins before the shown days, and after a gap."""
    ana, today = await school.person(), START.date()
    reasons = {
        30: ActivityReason.BOSS,
        29: ActivityReason.QUIZ,
        28: ActivityReason.LESSON,
        2: ActivityReason.SIGN_IN,
        1: None,
        0: ActivityReason.BOSS,
    }
    await school.add(
        *(ActivityDay(user_id=ana.user_id, local_date=today - back * DAY, reason=why) for back, why in reasons.items())
    )

    streak = (await ana.get("/api/progress/streak")).json()

    active = {day["date"]: day["reason"] for day in streak["days"] if day["is_active"]}
    assert active == {str(today - back * DAY): reason for back, reason in reasons.items() if back < 30}
