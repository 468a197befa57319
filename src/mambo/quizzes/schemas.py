"""Bodies of requests and responses about quizzes."""

from typing import Annotated

from msgspec import Meta

from mambo.web.schemas import Input, Output

QuestionId = Annotated[str, Meta(max_length=64)]


class QuizAnswers(Input):
    """The number of the chosen option, from 0, by question id. A question without an answer counts as wrong."""

    answers: Annotated[dict[QuestionId, int], Meta(max_length=50, examples=[{"q1": 1, "q2": 0}])]


class QuizResult(Output):
    """The result of an attempt, question by question, and the learner's totals; the first passed attempt pays XP."""

    score: int
    passed: bool
    correct: dict[str, bool]
    explanations: dict[str, str | None]
    attempt: int
    xp_gained: int
    new_total_xp: int
    leveled_up: bool
    new_level: int
    streak_count: int
