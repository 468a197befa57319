"""Bodies of requests and responses about the game, and its published rules."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct, field

from mambo.game import rules
from mambo.game.models import ActivityReason, XpKind
from mambo.users.rules import public_name
from mambo.web.schemas import Input, Output, RequiredLine

LEVELS_PUBLISHED = 20


class XpRow(Output):
    """A row of the XP ledger; `source_id` is a lesson's id, except in adjustments, whose `reason` an admin wrote."""

    id: UUID
    kind: XpKind
    source_id: UUID
    amount: int
    at: datetime
    reason: str | None


class Adjustment(Input):
    """XP that an admin gives or takes; a request with a `source_id` that was used before pays nothing more."""

    amount: Annotated[int, Meta(ge=-1_000_000, le=1_000_000, extra_json_schema={"not": {"const": 0}})]
    reason: RequiredLine
    source_id: UUID | None = None


class Adjusted(XpRow):
    """The row of an adjustment, and the learner's new total and level."""

    new_total_xp: int
    new_level: int


class StreakDay(Output):
    """A local day; `reason` is its first activity, null if there was none or if the day is older than this field."""

    date: date
    is_active: bool
    reason: ActivityReason | None


class StreakView(Output):
    """Your own streak; `days` are the last 30 of your calendar, the oldest first."""

    current: int
    longest: int
    today_done: bool
    today: date
    timezone: str
    days: list[StreakDay]


class ActivityRun(Struct, frozen=True):
    """A run of consecutive active days; `reasons` are those of its newest days, in order."""

    first_day: date
    last_day: date
    reasons: list[ActivityReason | None] | None


def to_streak(runs: Sequence[ActivityRun], today: date, timezone: str) -> StreakView:
    """Return the streak of a learner with these runs of active days, which are in order."""
    streak = rules.streak_of([(run.first_day, run.last_day) for run in runs], today)
    reasons = {
        run.last_day - back * rules.DAY: reason
        for run in runs
        for back, reason in enumerate(reversed(run.reasons or ()))
    }
    return StreakView(
        current=streak.current,
        longest=streak.longest,
        today_done=streak.is_today_done,
        today=today,
        timezone=timezone,
        days=[StreakDay(date=day, is_active=day in reasons, reason=reasons.get(day)) for day in streak.days],
    )


class Leader(Output):
    """A learner on the leaderboard; `xp_total` is the XP of its period, and `level` is that of all XP."""

    rank: int
    user_id: UUID
    name: str
    avatar_url: str | None
    xp_total: int
    level: int


class LeaderRow(Struct, frozen=True):
    """A learner on the leaderboard with the XP earned in its period."""

    user_id: UUID
    first_name: str
    last_name: str
    avatar_url: str | None
    level: int
    xp_total: int


def to_leaders(rows: Sequence[LeaderRow]) -> list[Leader]:
    """Return the leaderboard of these learners, who are in order."""
    return [
        Leader(
            rank=rank,
            user_id=row.user_id,
            name=public_name(row.first_name, row.last_name),
            avatar_url=row.avatar_url,
            xp_total=row.xp_total,
            level=row.level,
        )
        for rank, row in enumerate(rows, 1)
    ]


# The published rules: the defaults of these structs.


class LevelStart(Output):
    """A level, and the XP with which it begins."""

    level: int
    xp: int


class LevelRules(Output):
    """How levels follow from XP, with a table of the first levels."""

    formula: str = f"max(1, floor(sqrt(xp / {rules.XP_PER_LEVEL_SQUARED})))"
    begin: list[LevelStart] = field(
        default_factory=lambda: [
            LevelStart(level=level, xp=rules.xp_of_level(level)) for level in range(1, LEVELS_PUBLISHED + 1)
        ]
    )


class XpRule(Output):
    """A source of XP; an amount of null is the lesson's `xp_value` at that moment, or an admin's choice."""

    kind: XpKind
    amount: int | None
    when: str


class QuizRules(Output):
    """How a quiz is passed."""

    pass_percent: int = rules.QUIZ_PASS_PERCENT
    attempts_per_lesson_and_hour: int = rules.QUIZ_ATTEMPTS_PER_HOUR
    unanswered: str = "A question without an answer counts as wrong."


class StreakRules(Output):
    """How a streak is counted."""

    counts: list[ActivityReason] = field(default_factory=lambda: list(ActivityReason))
    day: str = "A day is one of the learner's calendar, in their time zone at that moment; it counts once."
    current: str = "The run of consecutive days that ends today or yesterday; 0 when it ended before."
    longest: str = "The longest run ever."
    order: str = "A day before the newest one that counts is ignored; one that a move skipped was not active."
    timezone_change_hours: int = int(rules.TIMEZONE_CHANGE_EVERY.total_seconds()) // 3600


class LeaderboardRules(Output):
    """How the leaderboard is ordered."""

    all: str = "By all XP."
    week: str = "By the XP since Monday 00:00 UTC."
    ties: str = "Whoever got there first stands first, then the lower user id."
    absent: str = "Learners without XP, those who turned show_on_leaderboard off, and disabled accounts."


class Rules(Output):
    """The rules of the game; `version` grows with every change."""

    version: int = rules.VERSION
    levels: LevelRules = field(default_factory=LevelRules)
    xp: list[XpRule] = field(
        default_factory=lambda: [
            XpRule(kind=XpKind.LESSON, amount=None, when="At the first completion of a lesson."),
            XpRule(kind=XpKind.QUIZ, amount=rules.QUIZ_XP, when="At the first passed attempt at a lesson's quiz."),
            XpRule(kind=XpKind.BOSS, amount=None, when="At the first approved submission to a boss battle."),
            XpRule(kind=XpKind.ADJUSTMENT, amount=None, when="When an admin corrects a total, with a reason."),
        ]
    )
    quiz: QuizRules = field(default_factory=QuizRules)
    streak: StreakRules = field(default_factory=StreakRules)
    leaderboard: LeaderboardRules = field(default_factory=LeaderboardRules)
