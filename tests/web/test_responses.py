"""Entity tags and `Cache-Control` of the catalogue: conditional requests, and no cache shared between users."""

from collections.abc import Callable

import httpx
import pytest

from factories import Caller, School
from mambo.courses.models import Lesson
from mambo.web.principal import Role
from mambo.web.responses import etag_matches
from support.quizzes import QUIZ

WORLDS = "/api/courses/worlds"
Pages = dict[str, str]


@pytest.fixture
async def lesson(school: School) -> Lesson:
    """One of the two lessons of a free course, with a quiz."""
    world = await school.world(lessons=1)
    return await school.lesson(await school.level(world), content_json={"quiz": QUIZ})


@pytest.fixture
def pages(lesson: Lesson) -> Pages:
    return {
        "worlds": WORLDS,
        "lessons": f"{WORLDS}/{lesson.world_id}/lessons",
        "lesson": f"/api/courses/lessons/{lesson.id}",
    }


PAGES = ["worlds", "lessons", "lesson"]
PUBLIC_PAGES = ["worlds", "lessons"]


# Entity tags


@pytest.mark.parametrize("page", PAGES)
async def test_equal_bodies_have_the_same_etag(school: School, pages: Pages, page: str) -> None:
    """For two requests of a learner, and for two learners without progress."""
    ana, ben = await school.person(), await school.person()

    responses = [await learner.get(pages[page]) for learner in (ana, ana, ben)]

    assert len({response.content for response in responses}) == 1
    assert len({response.headers["etag"] for response in responses}) == 1
    assert responses[0].headers["etag"].startswith('"')


@pytest.mark.parametrize("page", PAGES)
async def test_completing_a_lesson_changes_the_etag_of_each_page_that_shows_it(
    school: School, lesson: Lesson, pages: Pages, page: str
) -> None:
    ana = await school.person()
    before = await ana.get(pages[page])

    await ana.post(f"/api/courses/lessons/{lesson.id}/complete")

    after = await ana.get(pages[page], headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]


async def test_the_etag_depends_on_which_lesson_is_completed(school: School, pages: Pages) -> None:
    """And not only on how many are."""
    listed = (await (await school.person()).get(pages["lessons"])).json()
    etags = set()
    for lesson in listed:
        learner = await school.person()
        await learner.post(f"/api/courses/lessons/{lesson['id']}/complete")
        etags.add((await learner.get(pages["lessons"])).headers["etag"])

    assert len(etags) == len(listed) == 2


@pytest.mark.parametrize("page", PAGES)
async def test_an_edit_changes_the_etag_of_each_page_that_shows_it(
    school: School, lesson: Lesson, pages: Pages, page: str
) -> None:
    ana, admin = await school.person(), await school.admin()
    before = await ana.get(pages[page])

    await admin.patch(f"/api/admin/courses/{lesson.world_id}", {"title": "New"})
    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"title": "New"})

    after = await ana.get(pages[page], headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]


async def test_a_comment_changes_the_etag_of_its_lesson(school: School, pages: Pages) -> None:
    ana = await school.person()
    before = await ana.get(pages["lesson"])

    comment = await ana.post(f"{pages['lesson']}/comments", {"body": "Back on two."})
    assert comment.status_code == 201, comment.text

    after = await ana.get(pages["lesson"])
    assert len(after.json()["comments"]) == 1
    assert after.headers["etag"] != before.headers["etag"]


async def test_subscribers_staff_and_visitors_get_different_etags(school: School, client: httpx.AsyncClient) -> None:
    """Their bodies differ too."""
    world = await school.world(is_free=False)
    await school.lesson(await school.level(world), content_json={"quiz": QUIZ})
    readers: list[Caller | httpx.AsyncClient] = [
        await school.person(subscribed=True),
        await school.person(Role.INSTRUCTOR),
        client,
    ]

    responses = [await reader.get(f"{WORLDS}/{world.id}/lessons") for reader in readers]

    assert len({response.content for response in responses}) == 3
    assert len({response.headers["etag"] for response in responses}) == 3


async def test_a_lock_changes_the_etag_of_the_courses(school: School, client: httpx.AsyncClient) -> None:
    await school.world(is_free=False)
    subscriber = await school.person(subscribed=True)

    responses = [await reader.get(WORLDS) for reader in (client, subscriber)]

    assert [response.json()[0]["is_locked"] for response in responses] == [True, False]
    assert responses[0].headers["etag"] != responses[1].headers["etag"]


# Conditional requests


HEADERS: dict[str, Callable[[str], str]] = {
    "alone": lambda etag: etag,
    "in a list": lambda etag: f'"another", {etag} , "a third"',
    "as a weak tag": lambda etag: f"W/{etag}",
    "as an asterisk": lambda _: "*",
}


@pytest.mark.parametrize("form", HEADERS)
@pytest.mark.parametrize("page", PAGES)
async def test_a_current_copy_is_not_sent_again(school: School, pages: Pages, page: str, form: str) -> None:
    """The response has no body, and repeats the headers that a cache needs (RFC 9110, 15.4.5)."""
    ana = await school.person()
    before = await ana.get(pages[page])

    again = await ana.get(pages[page], headers={"If-None-Match": HEADERS[form](before.headers["etag"])})

    assert (again.status_code, again.content) == (304, b"")
    for name in ("etag", "cache-control", "vary"):
        assert again.headers[name] == before.headers[name]


@pytest.mark.parametrize("page", PUBLIC_PAGES)
async def test_a_visitors_current_copy_is_not_sent_again(client: httpx.AsyncClient, pages: Pages, page: str) -> None:
    before = await client.get(pages[page])

    again = await client.get(pages[page], headers={"If-None-Match": before.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    for name in ("etag", "cache-control", "vary"):
        assert again.headers[name] == before.headers[name]


async def test_a_304_has_no_content_length_of_zero(client: httpx.AsyncClient, lesson: Lesson) -> None:
    """Its length is that of the 200, or absent (RFC 9110, 8.6), because caches store it with their copy."""
    before = await client.get(WORLDS)

    again = await client.get(WORLDS, headers={"If-None-Match": before.headers["etag"]})

    length = before.headers["content-length"]
    assert again.status_code == 304
    assert again.headers.get("content-length", length) == length


@pytest.mark.parametrize("header", ['"another"', "", "*, *", "anything"])
async def test_another_etag_gets_the_full_response(client: httpx.AsyncClient, lesson: Lesson, header: str) -> None:
    response = await client.get(WORLDS, headers={"If-None-Match": header})

    assert (response.status_code, len(response.json())) == (200, 1)


async def test_the_etag_of_one_learner_does_not_match_for_another(school: School, lesson: Lesson, pages: Pages) -> None:
    ana, ben = await school.person(), await school.person()
    await ana.post(f"/api/courses/lessons/{lesson.id}/complete")

    for page in PAGES:
        etag = (await ana.get(pages[page])).headers["etag"]
        response = await ben.get(pages[page], headers={"If-None-Match": etag})

        assert response.status_code == 200


async def test_an_etag_gives_no_access(school: School, pages: Pages, lesson: Lesson) -> None:
    """With a matching entity tag too, an unpublished course is 404 and a locked lesson 403."""
    ana, admin = await school.person(), await school.admin()
    etags = {page: (await ana.get(pages[page])).headers["etag"] for page in ("lessons", "lesson")}
    statuses = []
    for change in ({"is_free": False}, {"is_published": False}):
        await admin.patch(f"/api/admin/courses/{lesson.world_id}", change)
        statuses += [
            (await ana.get(pages[page], headers={"If-None-Match": etag})).status_code for page, etag in etags.items()
        ]

    assert statuses == [200, 403, 404, 404]


# Cache-Control and Vary


async def cache_headers(client: Caller | httpx.AsyncClient, page: str, **headers: str) -> tuple[str, set[str]]:
    response = await client.get(page, headers=headers)
    return response.headers["cache-control"], {name.strip() for name in response.headers["vary"].split(",")}


@pytest.mark.parametrize("page", PUBLIC_PAGES)
async def test_responses_are_public_for_visitors_and_private_for_users(
    school: School, client: httpx.AsyncClient, pages: Pages, page: str
) -> None:
    """Both are revalidated before each use, and vary by `Authorization`."""
    ana = await school.person()

    headers = [await cache_headers(reader, pages[page]) for reader in (client, ana)]

    assert headers == [("public, no-cache", {"Authorization"}), ("private, no-cache", {"Authorization"})]


async def test_a_lesson_is_private(school: School, pages: Pages) -> None:
    assert await cache_headers(await school.person(), pages["lesson"]) == ("private, no-cache", {"Authorization"})


@pytest.mark.parametrize("page", PUBLIC_PAGES)
async def test_responses_to_other_origins_vary_by_origin_too(
    school: School, client: httpx.AsyncClient, pages: Pages, page: str
) -> None:
    [origin, *_] = client._transport.app.state.resources.settings.allowed_origins  # type: ignore[attr-defined]  # noqa: SLF001
    ana = await school.person()

    headers = [await cache_headers(reader, pages[page], Origin=origin) for reader in (client, ana)]

    vary = {"Authorization", "Origin"}
    assert headers == [("public, no-cache", vary), ("private, no-cache", vary)]


# If-None-Match


ETAG = '"abc"'


@pytest.mark.parametrize(
    "header",
    ['"abc"', 'W/"abc"', '"x", "abc"', '"x","abc","y"', 'W/"x", W/"abc"', "*", " * ", '  "abc"  ', '"a,b", "abc"'],
)
def test_a_header_that_matches_the_etag(header: str) -> None:
    assert etag_matches(ETAG, header)


@pytest.mark.parametrize(
    "header", ["", "abc", '"x"', '"xabc"', '"abcx"', '"ABC"', '"*"', '"x, abc"', '"x", *', '"a"b"c"']
)
def test_a_header_that_does_not_match_the_etag(header: str) -> None:
    assert not etag_matches(ETAG, header)
