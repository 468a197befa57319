"""Grading as pure functions."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from mambo.courses.schemas import QuizQuestion
from mambo.errors import FieldProblem, invalid
from mambo.game.rules import QUIZ_PASS_PERCENT


class QuizScore(Struct, frozen=True):
    """What answers are worth; `correct` says it of every question, by id."""

    score: int
    passed: bool
    correct: dict[str, bool]


def require_answers_to(questions: Sequence[QuizQuestion], answers: Mapping[str, int]) -> None:
    """Refuse answers that choose what nobody asked.

    Raises:
        Invalid: an answer is to no question, or its option is not one of the question's.

    """
    options = {question.id: len(question.options) for question in questions}
    problems = []
    for question_id, option in answers.items():
        if question_id not in options:
            problems.append(FieldProblem(f"answers.{question_id}", "is not a question of this quiz", "unknown_field"))
        elif not 0 <= option < options[question_id]:
            words = f"must be the number of an option, from 0 to {options[question_id] - 1}"
            problems.append(FieldProblem(f"answers.{question_id}", words, "out_of_range"))
    if problems:
        raise invalid(problems)


def grade(questions: Sequence[QuizQuestion], answers: Mapping[str, int]) -> QuizScore:
    """Grade answers, each the number of an option: right is any option marked correct, wrong is what is not answered.

    The score is the percentage of right answers rounded down, in whole numbers: 79.9 is 79, and does not pass.
    """
    correct = {
        question.id: question.id in answers and question.options[answers[question.id]].is_correct is True
        for question in questions
    }
    score = 100 * sum(correct.values()) // len(correct)
    return QuizScore(score, score >= QUIZ_PASS_PERCENT, correct)
