"""The rules as they are published: what the code does, with a version and a tag."""

import pytest

from factories import School
from mambo.game.rules import VERSION, level_of
from mambo.game.schemas import LEVELS_PUBLISHED
from mambo.game.service import published_rules

TAG_OF_VERSION_1 = '"036103ccf5db1cc04c3e80477826c750"'


async def test_the_rules_are_what_is_played(school: School) -> None:
    """Anyone reads them."""
    response = await school.client.get("/api/game/rules")

    told = response.json()
    assert told["version"] == VERSION
    assert told["levels"]["formula"] == "max(1, floor(sqrt(xp / 100)))"
    assert len(told["levels"]["begin"]) == LEVELS_PUBLISHED
    for begin in told["levels"]["begin"]:
        assert level_of(begin["xp"]) == begin["level"]
        assert level_of(begin["xp"] - 1) == max(begin["level"] - 1, 1)
    assert {rule["kind"]: rule["amount"] for rule in told["xp"]} == {
        "lesson": None,
        "quiz": 25,
        "boss": None,
        "adjustment": None,
    }
    assert (told["quiz"]["pass_percent"], told["quiz"]["attempts_per_lesson_and_hour"]) == (80, 10)
    assert told["streak"]["counts"] == ["sign_in", "lesson", "quiz", "boss"]


def test_other_rules_have_another_version() -> None:
    """Whoever changes what is published raises `rules.VERSION`, and writes the new tag down here."""
    assert (VERSION, published_rules().etag) == (1, TAG_OF_VERSION_1)


async def test_a_client_keeps_the_rules_by_their_tag(school: School) -> None:
    response = await school.client.get("/api/game/rules")

    assert response.headers["etag"] == published_rules().etag
    assert response.headers["cache-control"] == "public, max-age=300"


@pytest.mark.parametrize("header", ["{tag}", "W/{tag}", '"a", {tag}', '"a" ,W/{tag}, "b"', "*"])
async def test_a_client_that_has_them_gets_nothing_new(school: School, header: str) -> None:
    tag = published_rules().etag

    response = await school.client.get("/api/game/rules", headers={"If-None-Match": header.format(tag=tag)})

    assert (response.status_code, response.content) == (304, b"")
    assert (response.headers["etag"], response.headers["cache-control"]) == (tag, "public, max-age=300")


@pytest.mark.parametrize("header", ['"a"', "{bare}", '"{bare}-gzip"', '"*"', "W/", ""])
async def test_a_client_that_has_others_gets_them(school: School, header: str) -> None:
    bare = published_rules().etag.strip('"')

    response = await school.client.get("/api/game/rules", headers={"If-None-Match": header.format(bare=bare)})

    assert response.status_code == 200
