"""Videos and pictures with the whole service as processes: from an empty folder, killed, beside a Mux that hangs."""

import asyncio
import json
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx
import msgspec
import psutil
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from mambo.courses.models import Lesson
from mambo.devkit.mux import mux_emulator
from mambo.devkit.mux_webhooks import Faults, RestFault
from mambo.videos.models import VideoUpload
from support.processes import (
    MAMBO,
    PATIENCE_SECONDS,
    Finished,
    Served,
    ask_every_worker,
    connected_workers,
    mambo,
    query,
    serve,
    sign_in,
)
from videos.test_webhook import Story, signature

FILE = b"0123456789abcdef" * 4096
PICTURE = b"\x89PNG\r\n\x1a\n" + b"\0" * 200
RECONCILE = ("media", "reconcile", "--data-dir", "data")


@asynccontextmanager
async def admin_of(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    """The local admin, signed in."""
    admin = json.loads((served.data_dir / "admin.json").read_bytes())
    async with served.client() as client:
        client.headers.update(await sign_in(client, admin["email"], admin["password"]))
        yield client


async def lessons_of(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The lessons of the first course."""
    [course, *_] = (await client.get("/api/courses/worlds")).json()
    lessons: list[dict[str, Any]] = (await client.get(f"/api/courses/worlds/{course['id']}/lessons")).json()
    return lessons


async def upload(client: httpx.AsyncClient, lesson_id: str) -> None:
    """Send a lesson's video, as a browser does."""
    started = await client.post("/api/mux/upload-url", json={"lesson_id": lesson_id, "filename": "basic.mp4"})
    async with httpx.AsyncClient() as browser:
        assert (await browser.put(started.json()["upload_url"], content=FILE)).status_code == 200


async def until(ask: Callable[[], Any], is_so: Callable[[Any], object]) -> Any:
    """Ask again and again, until the answer is the one that is waited for."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so(answer := await ask()):
            pass
    return answer


def running_on(folder: Path) -> list[str]:
    """The programs that a folder is an argument of."""
    return [
        process.info["name"]
        for process in psutil.process_iter(["name", "cmdline"])
        if any(str(folder) in word for word in process.info["cmdline"] or ())
    ]


# What is run


class Walk(NamedTuple):
    """A first day with a video and a picture, a second one on the same folder, and reconciliations between."""

    printed: list[str]
    asked: dict[str, Any]
    told: dict[str, Any]
    picture: httpx.Response
    avatar_url: str
    left_running: list[str]
    beside: Finished
    while_mux_fails: Finished
    again: dict[str, Any]
    alone: Finished
    left_in_the_end: list[str]


async def walk_through(folder: Path) -> Walk:
    async with serve(folder) as served, admin_of(served) as admin:
        first, second, *_ = await lessons_of(admin)
        await upload(admin, first["id"])
        status = {"lesson_id": first["id"]}
        asked = await until(
            lambda: admin.post("/api/mux/check-upload-status", json=status), lambda r: r.json()["status"] == "ready"
        )
        await upload(admin, second["id"])
        [_, told, *_] = await until(lambda: lessons_of(admin), lambda lessons: lessons[1]["mux_playback_id"])
        avatar_url = await set_avatar(admin)
        async with httpx.AsyncClient() as anyone:
            picture = await anyone.get(avatar_url)
        await served.stop(signal.SIGTERM)
        printed, left_running = served.printed, running_on(served.data_dir)
    async with serve(folder) as served, admin_of(served) as admin:
        beside = await mambo(*RECONCILE, folder=folder)
        again = await seen_again(admin, first["id"], asked.json()["asset_id"])
        again["pictures_at"] = stand_ins_of(folder)["R2_PUBLIC_DOMAIN"]
        while_mux_fails = await reconcile_while_mux_fails(folder)
        await served.stop(signal.SIGTERM)
    alone = await reconcile_on_a_terminal(folder)
    return Walk(
        printed=printed,
        asked=asked.json(),
        told=told,
        picture=picture,
        avatar_url=avatar_url,
        left_running=left_running,
        beside=beside,
        while_mux_fails=while_mux_fails,
        again=again,
        alone=alone,
        left_in_the_end=running_on(folder),
    )


async def set_avatar(client: httpx.AsyncClient) -> str:
    """Upload a picture and make it one's own; its address."""
    wanted = {"file_type": "image/png", "folder": "avatars", "content_length": len(PICTURE)}
    presigned = (await client.post("/api/uploads/presigned-url", json=wanted)).json()
    async with httpx.AsyncClient() as browser:
        sent = await browser.put(presigned["upload_url"], content=PICTURE, headers=presigned["headers"])
    assert sent.status_code == 200, sent.text
    await client.patch("/api/users/me", json={"avatar_url": presigned["public_url"]})
    return str((await client.get("/api/users/me")).json()["avatar_url"])


async def seen_again(client: httpx.AsyncClient, lesson_id: str, asset_id: str) -> dict[str, Any]:
    """What there is of the video and the picture after a new start."""
    avatar_url = (await client.get("/api/users/me")).json()["avatar_url"]
    async with httpx.AsyncClient() as anyone:
        picture = await anyone.get(avatar_url)
    return {
        "exists": (await client.get(f"/api/mux/asset/{asset_id}/exists")).json()["exists"],
        "state": (await client.post("/api/mux/check-upload-status", json={"lesson_id": lesson_id})).json(),
        "avatar_url": avatar_url,
        "picture": picture.content,
    }


async def reconcile_on_a_terminal(folder: Path) -> Finished:
    """With a terminal for standard error, and a pipe for the table."""
    started = time.perf_counter()
    ours, theirs = os.openpty()
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    process = await asyncio.create_subprocess_exec(
        MAMBO, *RECONCILE, cwd=folder, env=environ, stdout=asyncio.subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    (out, _), shown = await asyncio.gather(process.communicate(), asyncio.to_thread(read_terminal, ours))
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), shown, time.perf_counter() - started)


def read_terminal(terminal: int) -> str:
    """Everything that is written to it, until its other end is closed; closes it."""
    shown = b""
    with suppress(OSError):  # so it tells the end
        while piece := os.read(terminal, 65_536):
            shown += piece
    os.close(terminal)
    return shown.decode()


def stand_ins_of(folder: Path) -> dict[str, str]:
    """The variables that lead to the stand-ins of the running server."""
    variables: dict[str, str] = json.loads((folder / "data" / "stand-ins.json").read_bytes())["variables"]
    return variables


async def reconcile_while_mux_fails(folder: Path) -> Finished:
    """Beside a server; its emulator stays as it was told."""
    async with httpx.AsyncClient() as client:
        fails = {"rest": {"kind": "server_error", "count": None}}
        await client.put(f"{stand_ins_of(folder)['MUX_API_URL']}/emulator/faults", json=fails)
    return await mambo(*RECONCILE, folder=folder)


@pytest.fixture(scope="module")
async def runs(make_database: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Walk, "Killed"]:
    """The walk and the kills, at once: much of either is waiting. (While Mux hangs, nothing else runs.)"""
    url: str = await make_database("killed_while_events_arrive")
    walk, killed = await asyncio.gather(
        walk_through(tmp_path_factory.mktemp("first_walk")),
        kill_while_events_arrive(tmp_path_factory.mktemp("killed_while_events_arrive"), url),
    )
    return walk, killed


@pytest.fixture(scope="module")
def walk(runs: tuple[Walk, "Killed"]) -> Walk:
    return runs[0]


# The first walk


async def test_a_start_says_what_stands_in_for_mux_and_r2(walk: Walk) -> None:
    printed = "\n".join(walk.printed)

    assert re.search(r"^Mux is not configured: an emulator .*/data/mux stands in for it$", printed, re.MULTILINE)
    assert re.search(r"^R2 is not configured: .*/data/storage stands in for it$", printed, re.MULTILINE)


async def test_a_video_that_was_sent_becomes_ready_as_one_asks(walk: Walk) -> None:
    assert walk.asked["status"] == "ready"
    assert walk.asked["playback_id"]


async def test_a_video_becomes_ready_when_nobody_asks(walk: Walk) -> None:
    """The emulator's webhooks reach the service."""
    assert walk.told["mux_playback_id"]
    assert walk.told["mux_asset_id"]


async def test_a_picture_that_was_sent_is_at_its_address(walk: Walk) -> None:
    assert (walk.picture.status_code, walk.picture.content) == (200, PICTURE)
    assert walk.picture.headers["content-type"] == "image/png"


async def test_a_new_start_has_the_video_and_the_picture_still(walk: Walk) -> None:
    """The picture even at the same address."""
    assert walk.again == {
        "exists": True,
        "state": walk.asked,
        "avatar_url": walk.avatar_url,
        "picture": PICTURE,
        "pictures_at": walk.avatar_url.partition("/avatars/")[0],
    }


async def test_nothing_is_left_running(walk: Walk) -> None:
    """Neither after a stop nor after a command: no PostgreSQL, no storage."""
    assert (walk.left_running, walk.left_in_the_end) == ([], [])


# Reconciling


@pytest.mark.parametrize("run", ["beside", "alone"])
async def test_reconciling_finds_everything_in_order(walk: Walk, run: str) -> None:
    """Beside a server, whose stand-ins it uses, and alone: a table."""
    end: Finished = getattr(walk, run)

    counts = dict(re.findall(r"│ (.+?) +│ (\d+) +│", end.out))
    assert end.code == 0
    assert len(counts) == 6
    assert set(counts.values()) == {"0"}


async def test_reconciling_shows_its_progress_on_a_terminal_only(walk: Walk) -> None:
    assert "Asking Mux about unfinished videos" in walk.alone.err
    assert "Comparing with Mux and the picture storage" in walk.alone.err
    assert walk.beside.err == ""


async def test_reconciling_fails_when_mux_does_and_says_so_in_the_table(walk: Walk) -> None:
    """Mux of the running server; the log goes to standard error."""
    end = walk.while_mux_fails

    table = " ".join(re.findall(r"│ ([^│]+?) +│$", end.out, re.MULTILINE))
    assert end.code == 1
    assert "Mux answered something that cannot be used. Try again in a moment." in table
    assert "Mux failed" in end.err
    assert "Mux failed" not in end.out


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"DATABASE_URL": "postgresql://mambo:horse-staple@127.0.0.1:1/mambo"}, "The database at .* does not answer"),
        ({}, "The database is not migrated to this version: run `mambo db upgrade`"),
    ],
    ids=["no database", "an empty database"],
)
async def test_reconciling_says_in_a_sentence_what_it_needs(
    environ: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    end = await mambo(*RECONCILE, folder=tmp_path, environ=environ)

    assert (end.code, end.out) == (1, "")
    assert re.fullmatch(rf"Error: {sentence}[^\n]*\.\n", end.err)
    assert "horse-staple" not in end.err
    assert running_on(tmp_path) == []


# Killed while events arrive

SECRET = "a-webhook-secret-of-this-file"
NO_MUX = {
    "MUX_API_URL": "http://127.0.0.1:9",
    "MUX_TOKEN_ID": "a-token",
    "MUX_TOKEN_SECRET": "a-token-secret",
    "MUX_WEBHOOK_SECRET": SECRET,
}
VIDEOS = 20
VICTIMS = ("worker", "server", "worker", "server", "worker")


class Round(NamedTuple):
    """20 uploads whose events came while something was killed, and came twice again."""

    accepted: set[str]
    kept: set[str]
    answers: set[int]
    states: list[tuple[str, bool]]
    events: int


class Killed(NamedTuple):
    """All rounds, and how the lessons stood when the events of all of them had come once more."""

    rounds: list[Round]
    plays_newest: list[bool]
    stored: int
    unapplied: int


async def post_event(client: httpx.AsyncClient, event: dict[str, Any]) -> int | None:
    """Deliver an event, signed now; the status, or None where the connection broke."""
    body = msgspec.json.encode(event)
    header = {"Mux-Signature": signature(body, SECRET, int(time.time()))}
    try:
        return (await client.post("/api/mux/webhook", content=body, headers=header)).status_code
    except httpx.TransportError:
        return None


def new_story(lesson_id: str) -> Story:
    return Story(Lesson(id=UUID(lesson_id)), VideoUpload(id=uuid4(), mux_upload_id=f"up{uuid4().hex}"))


async def insert_uploads(url: str, stories: list[Story]) -> None:
    """As after Mux's answers to the requests for uploads; nothing is left to ask."""
    engine = create_async_engine(url, poolclass=sa.NullPool)
    now = sa.func.now()
    rows = [
        {"id": story.upload.id, "mux_upload_id": story.upload_id, "lesson_id": story.lesson.id, "status": "waiting"}
        for story in stories
    ]
    async with engine.begin() as connection:
        # Should a round have left a video unfinished, then the test of that round is the one to fail.
        await connection.execute(sa.update(VideoUpload).where(VideoUpload.status != "ready").values(status="cancelled"))
        await connection.execute(sa.insert(VideoUpload).values(updated_at=now, expires_at=now), rows)
    await engine.dispose()


def events_of(story: Story) -> list[dict[str, Any]]:
    return [story.of_upload("created"), story.asset_created(), story.of_asset("created"), story.ready()]


async def deliver_and_kill(served: Served, events: list[dict[str, Any]], at: int, kill: Callable[[], None]) -> set[str]:
    """Deliver events over many connections and kill in the middle; the ids of those that were accepted."""
    accepted: set[str] = set()

    async def deliver(client: httpx.AsyncClient, event: dict[str, Any]) -> None:
        if await post_event(client, event) == 200:
            accepted.add(event["id"])
            if len(accepted) == at:
                kill()

    async with served.client(limits=httpx.Limits(max_connections=16)) as client:
        await asyncio.gather(*(deliver(client, event) for event in events))
    return accepted


async def deliver_all(served: Served, events: list[dict[str, Any]]) -> set[int]:
    """Deliver events until each is answered, as Mux does; the answers."""

    async def deliver(client: httpx.AsyncClient, event: dict[str, Any]) -> int:
        while True:
            if (status := await post_event(client, event)) is not None:
                return status

    async with asyncio.timeout(PATIENCE_SECONDS), served.client(limits=httpx.Limits(max_connections=16)) as client:
        return set(await asyncio.gather(*(deliver(client, event) for event in events)))


async def one_round(
    served: Served, stack: AsyncExitStack, url: str, victim: str, chance: random.Random
) -> tuple[Served, Round, list[Story]]:
    """One round; the server that runs after it, its outcome and its videos."""
    stories = [new_story(str(lesson_id)) for [lesson_id] in (await query(url, "SELECT id FROM lesson"))[:VIDEOS]]
    await insert_uploads(url, stories)
    events = [event for story in stories for event in events_of(story)]
    chance.shuffle(events)
    await ask_every_worker(served, workers=2)

    def kill() -> None:
        if victim == "server":
            os.killpg(served.process.pid, signal.SIGKILL)
        else:
            os.kill(chance.choice(sorted(connected_workers(served))), signal.SIGKILL)

    accepted = await deliver_and_kill(served, events, chance.randint(10, 40), kill)
    kept = {row[0] for row in await query(url, "SELECT id FROM mux_event")}
    if victim == "server":
        await served.process.wait()
        served = await stack.enter_async_context(serve(served.data_dir.parent, *OPTIONS, environ=environ_of(url)))
    twice = events * 2
    chance.shuffle(twice)
    answers = await deliver_all(served, twice)
    ids = {event["id"] for event in events}
    stored = {row[0] for row in await query(url, "SELECT id FROM mux_event")}
    return served, Round(accepted, kept, answers, await states_of(url, stories), len(ids & stored)), stories


OPTIONS = ("--workers", "2")


def environ_of(url: str) -> dict[str, str]:
    return NO_MUX | {"DATABASE_URL": url}


async def states_of(url: str, stories: list[Story]) -> list[tuple[str, bool]]:
    """Of each video its status, and whether its lesson plays it."""
    rows = await query(
        url, "SELECT v.id, v.status, l.mux_asset_id FROM video_upload v JOIN lesson l ON l.id = lesson_id"
    )
    states = {upload_id: (status, asset_id) for upload_id, status, asset_id in rows}
    return [(states[story.upload.id][0], states[story.upload.id][1] == story.asset_id) for story in stories]


async def kill_while_events_arrive(folder: Path, url: str) -> Killed:
    chance = random.Random(1959)  # noqa: S311 - the same run each time
    rounds, events = [], []
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(serve(folder, *OPTIONS, environ=environ_of(url)))
        for victim in VICTIMS:
            served, outcome, stories = await one_round(served, stack, url, victim, chance)
            rounds.append(outcome)
            events += [story.ready() for story in stories]
        chance.shuffle(events)
        await deliver_all(served, events)
        newest = await states_of(url, stories)
    [(stored,)] = await query(url, "SELECT count(*) FROM mux_event WHERE is_applied")
    [(unapplied,)] = await query(url, "SELECT count(*) FROM mux_event WHERE NOT is_applied")
    return Killed(rounds, [plays for _, plays in newest], stored, unapplied)


@pytest.fixture(scope="module")
def killed(runs: tuple[Walk, Killed]) -> Killed:
    return runs[1]


@pytest.mark.parametrize("number", range(len(VICTIMS)), ids=VICTIMS)
async def test_an_event_that_was_accepted_outlives_a_kill(killed: Killed, number: int) -> None:
    """Some were accepted, and those are stored; without a server not all were, and of two workers one goes on."""
    accepted, kept, *_ = killed.rounds[number]

    assert 10 <= len(accepted) <= 4 * VIDEOS
    assert len(accepted) < 4 * VIDEOS or VICTIMS[number] == "worker"
    assert accepted <= kept


@pytest.mark.parametrize("number", range(len(VICTIMS)), ids=VICTIMS)
async def test_redelivery_after_a_kill_makes_every_video_ready(killed: Killed, number: int) -> None:
    """Each event twice again in any order: every lesson plays its video, and every event is stored."""
    outcome = killed.rounds[number]

    assert outcome.answers == {200}
    assert outcome.states == [("ready", True)] * VIDEOS
    assert outcome.events == 4 * VIDEOS


async def test_late_events_of_old_videos_do_not_bring_them_back(killed: Killed) -> None:
    """Of all rounds, in any order; in the end each event is stored once, and none waits for its video."""
    assert killed.plays_newest == [True] * VIDEOS
    assert (killed.stored, killed.unapplied) == ((4 + 1) * VIDEOS * len(VICTIMS), 0)


# While Mux hangs

CHECKS, READS, POOL = 20, 30, 5
SESSIONS = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class Hanging(NamedTuple):
    """What was answered, and how the database looked, while 20 people waited for a Mux that does not answer."""

    reads: set[int]
    had_answers: int
    sessions: list[str]
    checks: list[httpx.Response]


@pytest.fixture(scope="module")
async def hanging(make_database: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Hanging:
    url: str = await make_database("while_mux_hangs")
    with mux_emulator(
        token_id="a-token", token_secret="a-secret", webhook_secret="s", webhook_url="http://127.0.0.1:9/nobody"
    ) as emulator:
        environ = NO_MUX | {"MUX_API_URL": emulator.url, "MUX_TOKEN_SECRET": "a-secret"}
        environ |= {"DATABASE_URL": url, "DATABASE_POOL_SIZE": str(POOL)}
        folder = tmp_path_factory.mktemp("while_mux_hangs")
        async with serve(folder, environ=environ) as served, admin_of(served) as admin, served.client() as visitor:
            [lesson, *_] = await lessons_of(admin)
            status = {"lesson_id": lesson["id"]}
            (await admin.post("/api/mux/upload-url", json=status)).raise_for_status()
            emulator.requests.clear()
            emulator.faults = Faults(rest=RestFault(kind="slow", seconds=30, count=None))
            checks = [
                asyncio.create_task(admin.post("/api/mux/check-upload-status", json=status)) for _ in range(CHECKS)
            ]
            await until(lambda: visitor.get("/health/ready"), lambda _: len(emulator.requests) >= 8)
            paths = ["/api/courses/worlds", "/health/ready"] * (READS // 2)
            reads = {response.status_code for response in await asyncio.gather(*map(visitor.get, paths))}
            sessions = [state for [state] in await query(url, SESSIONS)]
            had_answers = sum(check.done() for check in checks)
            return Hanging(reads, had_answers, sessions, await asyncio.gather(*checks))


async def test_others_are_served_while_mux_hangs(hanging: Hanging) -> None:
    """All of their requests are answered before any of those that wait for Mux."""
    assert hanging.reads == {200}
    assert hanging.had_answers == 0


async def test_whoever_waits_for_mux_holds_no_database_connection(hanging: Hanging) -> None:
    """20 people wait, and no more sessions are open than the two pools hold, all at rest."""
    assert len(hanging.sessions) <= 2 * POOL
    assert set(hanging.sessions) == {"idle"}


async def test_whoever_waits_for_mux_is_told_in_the_end(hanging: Hanging) -> None:
    assert {response.status_code for response in hanging.checks} <= {502, 503, 504}
    for response in hanging.checks:
        assert re.fullmatch(r"Mux [^.]+\. Try again in a moment\.", response.json()["detail"])
