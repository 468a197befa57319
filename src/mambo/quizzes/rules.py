"""Grading as pure functions."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from mambo.courses.schemas import QuizQuestion
from mambo.errors import FieldProblem, invalid
from mambo.game.rules import QUIZ_PASS_PERCENT


class QuizScore(Struct, frozen=True):
    """The score of an attempt in percent; `correct` has an entry for each question, by id."""

    score: int
    passed: bool
    correct: dict[str, bool]


def require_valid_answers(questions: Sequence[QuizQuestion], answers: Mapping[str, int]) -> None:
    """Require that every answer names a question and one of its options.

    Raises:
        Invalid: with an entry for each answer that does not.

    """
    options = {question.id: len(question.options) for question in questions}
    problems = []
    for question_id, option in answers.items():
        if question_id not in options:
            problems.append(FieldProblem(f"answers.{question_id}", "is not a question of this quiz", "unknown_field"))
        elif not 0 <= option < options[question_id]:
            message = f"must be the number of an option, from 0 to {options[question_id] - 1}"
            problems.append(FieldProblem(f"answers.{question_id}", message, "out_of_range"))
    if problems:
        raise invalid(problems)


def grade(questions: Sequence[QuizQuestion], answers: Mapping[str, int]) -> QuizScore:
    """Grade valid answers.

    An answer is right when its option is marked as correct; a question without an answer is wrong. The score is the
    percentage of right answers rounded down: 79.9 becomes 79, which does not pass.
    """
    correct = {
        question.id: question.id in answers and question.options[answers[question.id]].is_correct is True
        for question in questions
    }
    score = 100 * sum(correct.values()) // len(correct)
    return QuizScore(score, score >= QUIZ_PASS_PERCENT, correct)
