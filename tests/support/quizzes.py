"""A quiz, and attempts at it."""

from typing import Any

import httpx

from factories import Caller, School
from mambo.courses.models import Lesson

QUIZ: list[dict[str, Any]] = [
    {
        "id": f"q{number}",
        "question": f"Where is beat {number}?",
        "options": [{"text": "there", "isCorrect": False}, {"text": "here", "isCorrect": True}, {"text": "nowhere"}],
        "explanation": f"Because of the tumbao, {number}.",
    }
    for number in range(1, 5)
] + [{"id": "q5", "question": "And now?", "options": [{"text": "go", "isCorrect": True}, {"text": "stop"}]}]
CORRECT = {"q1": 1, "q2": 1, "q3": 1, "q4": 1, "q5": 0}
WRONG = {"q1": 0, "q2": 2}


async def add_quiz(school: School, **world: Any) -> Lesson:
    """Create a lesson with `QUIZ` in a course of its own."""
    return await school.lesson(await school.level(await school.world(**world)), content_json={"quiz": QUIZ})


async def attempt(learner: Caller, lesson: Lesson, answers: dict[str, Any]) -> httpx.Response:
    return await learner.post(f"/api/courses/lessons/{lesson.id}/quiz", {"answers": answers})
