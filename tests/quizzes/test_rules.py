"""Grading: the score, the pass mark, and invalid answers."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mambo.courses.schemas import QuizOption, QuizQuestion
from mambo.errors import Invalid
from mambo.quizzes.rules import QuizScore, grade, require_valid_answers


def question(number: int, *are_correct: bool | None) -> QuizQuestion:
    """Return a question with one option for each value of `isCorrect`; None leaves it out."""
    options = [
        QuizOption(text="x") if is_correct is None else QuizOption(text="x", is_correct=is_correct)
        for is_correct in are_correct
    ]
    return QuizQuestion(id=f"q{number}", question="?", options=options)


def quiz_of(length: int) -> list[QuizQuestion]:
    """Return questions whose second option is correct."""
    return [question(number, False, True) for number in range(length)]


@pytest.mark.parametrize(
    ("right", "of", "score", "passed"),
    [
        (0, 1, 0, False),
        (1, 1, 100, True),
        (1, 3, 33, False),
        (2, 3, 66, False),
        (3, 4, 75, False),
        (4, 5, 80, True),
        (8, 10, 80, True),
        (7, 9, 77, False),
        (38, 48, 79, False),
        (39, 49, 79, False),  # 79.6 exactly
        (40, 50, 80, True),
        (49, 50, 98, True),
    ],
)
def test_a_score_is_the_percentage_of_right_answers_rounded_down(
    right: int, of: int, score: int, *, passed: bool
) -> None:
    answers = {f"q{number}": int(number < right) for number in range(of)}

    graded = grade(quiz_of(of), answers)

    assert (graded.score, graded.passed) == (score, passed)
    assert list(graded.correct.values()) == [True] * right + [False] * (of - right)


@given(st.integers(1, 50).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_four_fifths_pass_and_less_does_not(counts: tuple[int, int]) -> None:
    right, of = counts

    graded = grade(quiz_of(of), {f"q{number}": 1 for number in range(right)})

    assert graded.passed is (Fraction(right, of) >= Fraction(4, 5))
    assert 0 <= Fraction(100 * right, of) - graded.score < 1


@pytest.mark.parametrize(("option", "is_right"), [(0, False), (1, True), (2, False), (3, True)])
def test_any_of_several_correct_options_is_right(option: int, *, is_right: bool) -> None:
    graded = grade([question(1, False, True, None, True)], {"q1": option})

    assert graded.correct == {"q1": is_right}


def test_a_question_without_an_answer_is_wrong() -> None:
    graded = grade(quiz_of(3), {"q1": 1})

    assert graded == QuizScore(33, False, {"q0": False, "q1": True, "q2": False})


@pytest.mark.parametrize("answers", [{}, {"q0": 0}, {"q0": 1, "q1": 0}])
def test_valid_answers_are_accepted(answers: dict[str, int]) -> None:
    require_valid_answers(quiz_of(2), answers)


@pytest.mark.parametrize(
    ("answers", "fields"),
    [
        ({"q9": 0}, ["answers.q9"]),
        ({"q0": 2}, ["answers.q0"]),
        ({"q0": -1}, ["answers.q0"]),
        ({"q0": 10**30}, ["answers.q0"]),
        ({"q0": 1, "Q0": 1, "": 0, "q1": 5}, ["answers.Q0", "answers.", "answers.q1"]),
    ],
)
def test_every_invalid_answer_is_named(answers: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        require_valid_answers(quiz_of(2), answers)

    assert [problem.field for problem in refused.value.errors] == fields
