"""Tags and caches: a client's copy is good as long as its tag, and a shared cache never crosses people."""

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
    """One of two lessons in a free course; it has a quiz."""
    world = await school.world(lessons=1)
    return await school.lesson(await school.level(world), content_json={"quiz": QUIZ})


@pytest.fixture
def pages(lesson: Lesson) -> Pages:
    return {
        "worlds": WORLDS,
        "lessons": f"{WORLDS}/{lesson.world_id}/lessons",
        "lesson": f"/api/courses/lessons/{lesson.id}",
    }


TAGGED = ["worlds", "lessons", "lesson"]
FOR_ANYONE = ["worlds", "lessons"]


# The tag


@pytest.mark.parametrize("page", TAGGED)
async def test_the_same_body_has_the_same_tag(school: School, pages: Pages, page: str) -> None:
    """Today and after everyone has forgotten it; two learners who have done nothing have the same."""
    ana, ben = await school.person(), await school.person()

    answers = [await who.get(pages[page]) for who in (ana, ana, ben)]

    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["etag"] for answer in answers}) == 1
    assert answers[0].headers["etag"].startswith('"')


@pytest.mark.parametrize("page", TAGGED)
async def test_completing_a_lesson_changes_the_tag_of_every_page_that_shows_it(
    school: School, lesson: Lesson, pages: Pages, page: str
) -> None:
    ana = await school.person()
    before = await ana.get(pages[page])

    await ana.post(f"/api/courses/lessons/{lesson.id}/complete")

    after = await ana.get(pages[page], headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]


async def test_the_tag_tells_which_lesson_is_completed(school: School, pages: Pages) -> None:
    """Not only how many are."""
    listed = (await (await school.person()).get(pages["lessons"])).json()
    tags = set()
    for one in listed:
        learner = await school.person()
        await learner.post(f"/api/courses/lessons/{one['id']}/complete")
        tags.add((await learner.get(pages["lessons"])).headers["etag"])

    assert len(tags) == len(listed) == 2


@pytest.mark.parametrize("page", TAGGED)
async def test_an_edit_changes_the_tag_of_every_page_that_shows_it(
    school: School, lesson: Lesson, pages: Pages, page: str
) -> None:
    ana, admin = await school.person(), await school.admin()
    before = await ana.get(pages[page])

    await admin.patch(f"/api/admin/courses/{lesson.world_id}", {"title": "New"})
    await admin.patch(f"/api/admin/lessons/{lesson.id}", {"title": "New"})

    after = await ana.get(pages[page], headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]


async def test_a_comment_changes_the_tag_of_its_lesson(school: School, pages: Pages) -> None:
    ana = await school.person()
    before = await ana.get(pages["lesson"])

    said = await ana.post(f"{pages['lesson']}/comments", {"body": "Back on two."})
    assert said.status_code == 201, said.text

    after = await ana.get(pages["lesson"])
    assert len(after.json()["comments"]) == 1
    assert after.headers["etag"] != before.headers["etag"]


async def test_learners_staff_and_who_is_locked_out_have_each_a_tag_of_their_own(
    school: School, client: httpx.AsyncClient
) -> None:
    """Whoever asks first, each has a body of their own too."""
    world = await school.world(is_free=False)
    await school.lesson(await school.level(world), content_json={"quiz": QUIZ})
    readers: list[Caller | httpx.AsyncClient] = [
        await school.person(subscribed=True),
        await school.person(Role.INSTRUCTOR),
        client,
    ]

    answers = [await reader.get(f"{WORLDS}/{world.id}/lessons") for reader in readers]

    assert len({answer.content for answer in answers}) == 3
    assert len({answer.headers["etag"] for answer in answers}) == 3


async def test_a_lock_changes_the_tag_of_the_courses(school: School, client: httpx.AsyncClient) -> None:
    await school.world(is_free=False)
    subscriber = await school.person(subscribed=True)

    answers = [await who.get(WORLDS) for who in (client, subscriber)]

    assert [answer.json()[0]["is_locked"] for answer in answers] == [True, False]
    assert answers[0].headers["etag"] != answers[1].headers["etag"]


# 304


NAMING: dict[str, Callable[[str], str]] = {
    "alone": lambda tag: tag,
    "in a list": lambda tag: f'"another", {tag} , "a third"',
    "weakly": lambda tag: f"W/{tag}",
    "as any other": lambda _: "*",
}


@pytest.mark.parametrize("naming", NAMING)
@pytest.mark.parametrize("page", TAGGED)
async def test_a_copy_that_is_still_good_is_not_sent_again(
    school: School, pages: Pages, page: str, naming: str
) -> None:
    """The answer is empty, and repeats what a cache has to know (RFC 9110, 15.4.5)."""
    ana = await school.person()
    before = await ana.get(pages[page])

    again = await ana.get(pages[page], headers={"If-None-Match": NAMING[naming](before.headers["etag"])})

    assert (again.status_code, again.content) == (304, b"")
    for name in ("etag", "cache-control", "vary"):
        assert again.headers[name] == before.headers[name]


@pytest.mark.parametrize("page", FOR_ANYONE)
async def test_anyones_copy_that_is_still_good_is_not_sent_again(
    client: httpx.AsyncClient, pages: Pages, page: str
) -> None:
    before = await client.get(pages[page])

    again = await client.get(pages[page], headers={"If-None-Match": before.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    for name in ("etag", "cache-control", "vary"):
        assert again.headers[name] == before.headers[name]


async def test_an_answer_without_a_body_does_not_say_that_the_copy_is_empty(
    client: httpx.AsyncClient, lesson: Lesson
) -> None:
    """A length is that of the 200, or is not told (RFC 9110, 8.6): a cache would write 0 beside its copy."""
    before = await client.get(WORLDS)

    again = await client.get(WORLDS, headers={"If-None-Match": before.headers["etag"]})

    length = before.headers["content-length"]
    assert again.status_code == 304
    assert again.headers.get("content-length", length) == length


@pytest.mark.parametrize("header", ['"another"', "", "*, *", "anything"])
async def test_a_copy_of_something_else_is_sent_again(client: httpx.AsyncClient, lesson: Lesson, header: str) -> None:
    answer = await client.get(WORLDS, headers={"If-None-Match": header})

    assert (answer.status_code, len(answer.json())) == (200, 1)


async def test_one_persons_tag_is_not_good_for_another(school: School, lesson: Lesson, pages: Pages) -> None:
    ana, ben = await school.person(), await school.person()
    await ana.post(f"/api/courses/lessons/{lesson.id}/complete")

    for page in TAGGED:
        anas = (await ana.get(pages[page])).headers["etag"]
        bens = await ben.get(pages[page], headers={"If-None-Match": anas})

        assert bens.status_code == 200


async def test_what_someone_may_not_read_is_no_copy_to_keep(school: School, pages: Pages, lesson: Lesson) -> None:
    """Whatever tag is named: an unpublished course is gone, and a lesson that costs is closed."""
    ana, admin = await school.person(), await school.admin()
    tags = {page: (await ana.get(pages[page])).headers["etag"] for page in ("lessons", "lesson")}
    closed = []
    for change in ({"is_free": False}, {"is_published": False}):
        await admin.patch(f"/api/admin/courses/{lesson.world_id}", change)
        closed += [
            (await ana.get(pages[page], headers={"If-None-Match": tag})).status_code for page, tag in tags.items()
        ]

    assert closed == [200, 403, 404, 404]


# Caches


async def control_of(who: Caller | httpx.AsyncClient, page: str, **headers: str) -> tuple[str, set[str]]:
    answer = await who.get(page, headers=headers)
    return answer.headers["cache-control"], {name.strip() for name in answer.headers["vary"].split(",")}


@pytest.mark.parametrize("page", FOR_ANYONE)
async def test_anyones_answer_may_be_kept_by_all_and_ones_own_by_oneself(
    school: School, client: httpx.AsyncClient, pages: Pages, page: str
) -> None:
    """Both are asked about before each use, and a cache between tells them apart."""
    ana = await school.person()

    controls = [await control_of(who, pages[page]) for who in (client, ana)]

    assert controls == [("public, no-cache", {"Authorization"}), ("private, no-cache", {"Authorization"})]


async def test_a_lesson_may_be_kept_by_oneself(school: School, pages: Pages) -> None:
    assert await control_of(await school.person(), pages["lesson"]) == ("private, no-cache", {"Authorization"})


@pytest.mark.parametrize("page", FOR_ANYONE)
async def test_a_browser_on_another_site_is_told_both_that_tell_answers_apart(
    school: School, client: httpx.AsyncClient, pages: Pages, page: str
) -> None:
    """Who asks, and from where."""
    [origin, *_] = client._transport.app.state.resources.settings.allowed_origins  # type: ignore[attr-defined]  # noqa: SLF001
    ana = await school.person()

    controls = [await control_of(who, pages[page], Origin=origin) for who in (client, ana)]

    both = {"Authorization", "Origin"}
    assert controls == [("public, no-cache", both), ("private, no-cache", both)]


# The header


TAG = '"abc"'


@pytest.mark.parametrize(
    "header",
    ['"abc"', 'W/"abc"', '"x", "abc"', '"x","abc","y"', 'W/"x", W/"abc"', "*", " * ", '  "abc"  ', '"a,b", "abc"'],
)
def test_a_header_names_a_tag(header: str) -> None:
    assert etag_matches(TAG, header)


@pytest.mark.parametrize(
    "header", ["", "abc", '"x"', '"xabc"', '"abcx"', '"ABC"', '"*"', '"x, abc"', '"x", *', '"a"b"c"']
)
def test_a_header_does_not_name_a_tag(header: str) -> None:
    assert not etag_matches(TAG, header)
