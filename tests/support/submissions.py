"""Boss battles, submissions to them, and grades."""

from typing import Any
from uuid import UUID

import httpx
import sqlalchemy as sa

from factories import Caller, School
from mambo.courses.models import Lesson

VIDEO = "https://video.example/my-shines.mp4"


async def add_battle(school: School, *, world: dict[str, Any] | None = None, **lesson: Any) -> Lesson:
    """Create a boss battle in a course of its own."""
    level = await school.level(await school.world(**world or {}))
    return await school.lesson(level, **{"is_boss_battle": True, "xp_value": 120} | lesson)


async def submit(learner: Caller, lesson_id: UUID, **video: Any) -> httpx.Response:
    return await learner.post(
        "/api/submissions/submit", {"lesson_id": str(lesson_id)} | (video or {"video_url": VIDEO})
    )


async def create_submission(learner: Caller, lesson: Lesson, **video: Any) -> str:
    """Submit a video, and return the submission's id."""
    response = await submit(learner, lesson.id, **video)
    assert response.status_code == 201, response.text
    submission_id: str = response.json()["id"]
    return submission_id


async def get_own(learner: Caller) -> list[dict[str, Any]]:
    """Return the learner's submissions, the newest first."""
    submissions: list[dict[str, Any]] = (await learner.get("/api/submissions/my-submissions")).json()
    return submissions


async def grade(grader: Caller, submission_id: str, status: str = "approved", **feedback: Any) -> httpx.Response:
    if status == "rejected" and not feedback:
        feedback = {"feedback_text": "Keep your frame."}
    return await grader.post(f"/api/admin/submissions/{submission_id}/grade", {"status": status} | feedback)


async def count(school: School, model: type[Any]) -> int:
    """Return the number of rows of a table."""
    number: int = await school.scalar(sa.select(sa.func.count()).select_from(model))
    return number
