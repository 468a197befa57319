"""What is measured: one request or more for every GET route, and completing a lesson."""

import enum

from msgspec import Struct


class Caller(enum.Enum):
    """Who sends a request."""

    ANYONE = "anyone"
    LEARNER = "learner"
    INSTRUCTOR = "instructor"
    ADMIN = "admin"


class Ids(enum.Enum):
    """The ids that take the place of a path's parameter, in turn.

    Plain worlds and lessons are those of `ceiling.py`. Rich ones have notes, quizzes, videos and comments, as in a real
    school. Plain lessons are `DONE`, which all learners have completed, or `NEW`, which none has.
    """

    NONE = "none"
    WORLDS = "worlds"
    LESSONS = "lessons"
    DONE = "done"
    NEW = "new"
    RICH_WORLDS = "rich_worlds"
    RICH_LESSONS = "rich_lessons"
    USERS = "users"


class Request(Struct, frozen=True):
    """A request; `route` is a path of the OpenAPI document, with at most one parameter.

    `goal` is the least ratio to the ceiling for `HOT`, and the least share of `GET /api/auth/me` for `OTHERS`.
    """

    name: str
    route: str
    goal: float | None = None
    ids: Ids = Ids.NONE
    caller: Caller = Caller.LEARNER
    query: str = ""
    method: str = "GET"

    @property
    def writes(self) -> bool:
        return self.ids is Ids.NEW


COMPLETE = "/api/courses/lessons/{lesson_id}/complete"
AUTH_ME = Request("auth/me", "/api/auth/me", 0.75)

# Measured beside the same request to `ceiling.py`.
HOT = (
    Request("worlds, anonymous", "/api/courses/worlds", 0.45, caller=Caller.ANYONE),
    AUTH_ME,
    Request("worlds", "/api/courses/worlds", 0.75),
    Request("worlds/{id}/lessons", "/api/courses/worlds/{world_id}/lessons", 0.75, Ids.WORLDS),
    Request("lessons/{id}", "/api/courses/lessons/{lesson_id}", 0.75, Ids.LESSONS),
    Request("complete, again", COMPLETE, 0.50, Ids.DONE, method="POST"),
    Request("complete, first", COMPLETE, 0.40, Ids.NEW, method="POST"),
)

# Measured beside `AUTH_ME`.
OTHERS = (
    Request("lessons/{id}, with comments", "/api/courses/lessons/{lesson_id}", 0.6, Ids.RICH_LESSONS),
    Request("lessons/{id}/comments", "/api/courses/lessons/{lesson_id}/comments", 0.4, Ids.RICH_LESSONS),
    Request("users/leaderboard", "/api/users/leaderboard", 0.4),
    Request("users/leaderboard, week", "/api/users/leaderboard", 0.4, query="?period=week"),
    Request("progress/streak", "/api/progress/streak", 0.4),
    Request("progress/xp", "/api/progress/xp", 0.4),
    Request("auth/sessions", "/api/auth/sessions", 0.4),
    Request("submissions/my-submissions", "/api/submissions/my-submissions", 0.4),
    Request("progress/me", "/api/progress/me", 0.3),
    Request("admin/courses", "/api/admin/courses", 0.2, caller=Caller.ADMIN),
    Request("admin/courses/{id}", "/api/admin/courses/{course_id}", 0.2, Ids.RICH_WORLDS, Caller.ADMIN),
    Request("admin/courses/{id}/full", "/api/admin/courses/{course_id}/full", 0.2, Ids.RICH_WORLDS, Caller.ADMIN),
    Request("admin/lessons/{id}", "/api/admin/lessons/{lesson_id}", 0.2, Ids.RICH_LESSONS, Caller.ADMIN),
    Request("admin/users", "/api/admin/users", 0.2, caller=Caller.ADMIN),
    Request("admin/users, search", "/api/admin/users", 0.2, caller=Caller.ADMIN, query="?search=learner-19"),
    Request("admin/users/{id}", "/api/admin/users/{user_id}", 0.2, Ids.USERS, Caller.ADMIN),
    Request("admin/users/{id}/sessions", "/api/admin/users/{user_id}/sessions", 0.2, Ids.USERS, Caller.ADMIN),
    Request("admin/students", "/api/admin/students", 0.2, caller=Caller.ADMIN),
    Request("admin/stats", "/api/admin/stats", 0.2, caller=Caller.ADMIN),
    Request("admin/submissions", "/api/admin/submissions", 0.2, caller=Caller.INSTRUCTOR),
    Request(
        "admin/submissions, pending", "/api/admin/submissions", 0.2, Ids.NONE, Caller.INSTRUCTOR, "?status=pending"
    ),
    Request("worlds/{id}/lessons, rich", "/api/courses/worlds/{world_id}/lessons", None, Ids.RICH_WORLDS),
    Request("users/me", "/api/users/me"),
    Request("game/rules", "/api/game/rules", caller=Caller.ANYONE),
    Request("health", "/health", caller=Caller.ANYONE),
    Request("health/live", "/health/live", caller=Caller.ANYONE),
    Request("health/ready", "/health/ready", caller=Caller.ANYONE),
    Request("welcome", "/", caller=Caller.ANYONE),
)

# GET routes that are not measured, and why.
NOT_MEASURED = {"/api/mux/asset/{asset_id}/exists": "it waits for Mux"}
