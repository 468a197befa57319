"""The pages of the game that are only read."""

import pytest
from litestar import Litestar

from conftest import START, counted
from factories import School
from mambo.game.models import ActivityDay
from support.ledger import pay


@pytest.mark.parametrize(
    "path", ["/api/progress/xp", "/api/progress/streak", "/api/users/leaderboard", "/api/users/leaderboard?period=week"]
)
async def test_a_page_takes_two_statements(school: School, app: Litestar, path: str) -> None:
    """The session, and the page."""
    people = [await school.person() for _ in range(3)]
    for person in people:
        await pay(school, person, 50)
        await pay(school, person, 50)
        await school.add(ActivityDay(user_id=person.user_id, local_date=START.date(), reason=None))

    with counted(app) as statements:
        response = await people[0].get(path)

    assert response.status_code == 200
    assert len(statements) == 2, statements
