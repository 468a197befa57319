"""The published rules: they are those of the code, and have a version and an entity tag."""

import pytest

from factories import School
from mambo.game.rules import VERSION, level_of
from mambo.game.schemas import LEVELS_PUBLISHED
from mambo.game.service import published_rules

TAG_OF_VERSION_1 = '"036103ccf5db1cc04c3e80477826c750"'


async def test_the_published_rules_are_those_of_the_code(school: School) -> None:
    """No sign-in is needed."""
    response = await school.client.get("/api/game/rules")

    body = response.json()
    assert body["version"] == VERSION
    assert body["levels"]["formula"] == "max(1, floor(sqrt(xp / 100)))"
    assert len(body["levels"]["begin"]) == LEVELS_PUBLISHED
    for begin in body["levels"]["begin"]:
        assert level_of(begin["xp"]) == begin["level"]
        assert level_of(begin["xp"] - 1) == max(begin["level"] - 1, 1)
    assert {rule["kind"]: rule["amount"] for rule in body["xp"]} == {
        "lesson": None,
        "quiz": 25,
        "boss": None,
        "adjustment": None,
    }
    assert (body["quiz"]["pass_percent"], body["quiz"]["attempts_per_lesson_and_hour"]) == (80, 10)
    assert body["streak"]["counts"] == ["sign_in", "lesson", "quiz", "boss"]


def test_a_change_of_the_rules_needs_a_new_version() -> None:
    """After a change of the published rules, raise `rules.VERSION` and update the tag in this file."""
    assert (VERSION, published_rules().etag) == (1, TAG_OF_VERSION_1)


async def test_the_rules_are_cacheable(school: School) -> None:
    response = await school.client.get("/api/game/rules")

    assert response.headers["etag"] == published_rules().etag
    assert response.headers["cache-control"] == "public, max-age=300"


@pytest.mark.parametrize("header", ["{tag}", "W/{tag}", '"a", {tag}', '"a" ,W/{tag}, "b"', "*"])
async def test_a_matching_tag_is_not_modified(school: School, header: str) -> None:
    tag = published_rules().etag

    response = await school.client.get("/api/game/rules", headers={"If-None-Match": header.format(tag=tag)})

    assert (response.status_code, response.content) == (304, b"")
    assert (response.headers["etag"], response.headers["cache-control"]) == (tag, "public, max-age=300")


@pytest.mark.parametrize("header", ['"a"', "{bare}", '"{bare}-gzip"', '"*"', "W/", ""])
async def test_another_tag_returns_the_rules(school: School, header: str) -> None:
    bare = published_rules().etag.strip('"')

    response = await school.client.get("/api/game/rules", headers={"If-None-Match": header.format(bare=bare)})

    assert response.status_code == 200
