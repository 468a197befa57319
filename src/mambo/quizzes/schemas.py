"""What answering a quiz takes and tells."""

from typing import Annotated

from msgspec import Meta

from mambo.web.schemas import Input, Output

QuestionId = Annotated[str, Meta(max_length=64)]


class QuizAnswers(Input):
    """The number of the chosen option, from 0, by the question's id; what is left out counts as wrong."""

    answers: Annotated[dict[QuestionId, int], Meta(max_length=50, examples=[{"q1": 1, "q2": 0}])]


class QuizResult(Output):
    """How an attempt went, question by question, and what a client shows next; the first that passes pays XP."""

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
