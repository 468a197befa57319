"""Images and videos with the service as processes: from an empty folder, with kills, and while Mux hangs."""

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
    call_every_worker,
    connected_workers,
    mambo,
    query,
    serve,
    sign_in,
)
from support.videos import Video, sign

FILE = b"0123456789abcdef" * 4096
IMAGE = b"\x89PNG\r\n\x1a\n" + b"\0" * 200
RECONCILE = ("media", "reconcile", "--data-dir", "data")


@asynccontextmanager
async def admin_client(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    """Sign in as the local admin."""
    admin = json.loads((served.data_dir / "admin.json").read_bytes())
    async with served.client() as client:
        client.headers.update(await sign_in(client, admin["email"], admin["password"]))
        yield client


async def get_lessons(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Return the lessons of the first course."""
    [course, *_] = (await client.get("/api/courses/worlds")).json()
    lessons: list[dict[str, Any]] = (await client.get(f"/api/courses/worlds/{course['id']}/lessons")).json()
    return lessons


async def upload(client: httpx.AsyncClient, lesson_id: str) -> None:
    """Upload a lesson's video, as a browser does."""
    started = await client.post("/api/mux/upload-url", json={"lesson_id": lesson_id, "filename": "basic.mp4"})
    async with httpx.AsyncClient() as browser:
        assert (await browser.put(started.json()["upload_url"], content=FILE)).status_code == 200


async def until(get: Callable[[], Any], is_done: Callable[[Any], object]) -> Any:
    """Call `get` until its result fulfils the condition, and return the result."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_done(result := await get()):
            pass
    return result


def running_on(folder: Path) -> list[str]:
    """Return the names of the processes that have the folder as an argument."""
    return [
        process.info["name"]
        for process in psutil.process_iter(["name", "cmdline"])
        if any(str(folder) in word for word in process.info["cmdline"] or ())
    ]


# The processes of this file


class TwoStarts(NamedTuple):
    """Two starts of the service in one folder with a video and an image, and the output of `media reconcile`."""

    printed: list[str]
    checked: dict[str, Any]
    by_webhook: dict[str, Any]
    image: httpx.Response
    avatar_url: str
    left_running: list[str]
    beside: Finished
    while_mux_fails: Finished
    after_restart: dict[str, Any]
    alone: Finished
    left_at_the_end: list[str]


async def start_twice(folder: Path) -> TwoStarts:
    async with serve(folder) as served, admin_client(served) as admin:
        first, second, *_ = await get_lessons(admin)
        await upload(admin, first["id"])
        status = {"lesson_id": first["id"]}
        checked = await until(
            lambda: admin.post("/api/mux/check-upload-status", json=status), lambda r: r.json()["status"] == "ready"
        )
        await upload(admin, second["id"])
        [_, by_webhook, *_] = await until(lambda: get_lessons(admin), lambda lessons: lessons[1]["mux_playback_id"])
        avatar_url = await set_avatar(admin)
        async with httpx.AsyncClient() as anyone:
            image = await anyone.get(avatar_url)
        await served.stop(signal.SIGTERM)
        printed, left_running = served.printed, running_on(served.data_dir)
    async with serve(folder) as served, admin_client(served) as admin:
        beside = await mambo(*RECONCILE, folder=folder)
        after_restart = await get_after_restart(admin, first["id"], checked.json()["asset_id"])
        after_restart["images_url"] = get_stand_ins(folder)["R2_PUBLIC_DOMAIN"]
        while_mux_fails = await reconcile_while_mux_fails(folder)
        await served.stop(signal.SIGTERM)
    alone = await reconcile_on_a_terminal(folder)
    return TwoStarts(
        printed=printed,
        checked=checked.json(),
        by_webhook=by_webhook,
        image=image,
        avatar_url=avatar_url,
        left_running=left_running,
        beside=beside,
        while_mux_fails=while_mux_fails,
        after_restart=after_restart,
        alone=alone,
        left_at_the_end=running_on(folder),
    )


async def set_avatar(client: httpx.AsyncClient) -> str:
    """Upload an image and set it as the avatar; return its URL."""
    wanted = {"file_type": "image/png", "folder": "avatars", "content_length": len(IMAGE)}
    presigned = (await client.post("/api/uploads/presigned-url", json=wanted)).json()
    async with httpx.AsyncClient() as browser:
        sent = await browser.put(presigned["upload_url"], content=IMAGE, headers=presigned["headers"])
    assert sent.status_code == 200, sent.text
    await client.patch("/api/users/me", json={"avatar_url": presigned["public_url"]})
    return str((await client.get("/api/users/me")).json()["avatar_url"])


async def get_after_restart(client: httpx.AsyncClient, lesson_id: str, asset_id: str) -> dict[str, Any]:
    """Return what exists of the video and the image after a new start."""
    avatar_url = (await client.get("/api/users/me")).json()["avatar_url"]
    async with httpx.AsyncClient() as anyone:
        image = await anyone.get(avatar_url)
    return {
        "exists": (await client.get(f"/api/mux/asset/{asset_id}/exists")).json()["exists"],
        "state": (await client.post("/api/mux/check-upload-status", json={"lesson_id": lesson_id})).json(),
        "avatar_url": avatar_url,
        "image": image.content,
    }


async def reconcile_on_a_terminal(folder: Path) -> Finished:
    """Run with a terminal as standard error, and a pipe as standard output."""
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
    """Return what is written to a terminal until its other end is closed, and close it."""
    shown = b""
    with suppress(OSError):  # the end of the output
        while piece := os.read(terminal, 65_536):
            shown += piece
    os.close(terminal)
    return shown.decode()


def get_stand_ins(folder: Path) -> dict[str, str]:
    """Return the environment variables with the stand-ins of the running server."""
    variables: dict[str, str] = json.loads((folder / "data" / "stand-ins.json").read_bytes())["variables"]
    return variables


async def reconcile_while_mux_fails(folder: Path) -> Finished:
    """Run while the emulator of the running server fails."""
    async with httpx.AsyncClient() as client:
        fails = {"rest": {"kind": "server_error", "count": None}}
        await client.put(f"{get_stand_ins(folder)['MUX_API_URL']}/emulator/faults", json=fails)
    return await mambo(*RECONCILE, folder=folder)


@pytest.fixture(scope="module")
async def runs(
    make_database: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[TwoStarts, "Killed"]:
    """Both runs, concurrently, because both wait a lot."""
    url: str = await make_database("killed_while_events_arrive")
    starts, killed = await asyncio.gather(
        start_twice(tmp_path_factory.mktemp("first_walk")),
        kill_while_events_arrive(tmp_path_factory.mktemp("killed_while_events_arrive"), url),
    )
    return starts, killed


@pytest.fixture(scope="module")
def starts(runs: tuple[TwoStarts, "Killed"]) -> TwoStarts:
    return runs[0]


# Two starts


async def test_the_start_names_the_stand_ins_for_mux_and_r2(starts: TwoStarts) -> None:
    printed = "\n".join(starts.printed)

    assert re.search(r"^Mux is not configured: an emulator .*/data/mux stands in for it$", printed, re.MULTILINE)
    assert re.search(r"^R2 is not configured: .*/data/storage stands in for it$", printed, re.MULTILINE)


async def test_an_uploaded_video_becomes_ready_when_its_status_is_checked(starts: TwoStarts) -> None:
    assert starts.checked["status"] == "ready"
    assert starts.checked["playback_id"]


async def test_an_uploaded_video_becomes_ready_by_webhooks(starts: TwoStarts) -> None:
    """The webhooks of the emulator arrive."""
    assert starts.by_webhook["mux_playback_id"]
    assert starts.by_webhook["mux_asset_id"]


async def test_an_uploaded_image_is_public(starts: TwoStarts) -> None:
    assert (starts.image.status_code, starts.image.content) == (200, IMAGE)
    assert starts.image.headers["content-type"] == "image/png"


async def test_video_and_image_survive_a_restart(starts: TwoStarts) -> None:
    """The image even has the same URL."""
    assert starts.after_restart == {
        "exists": True,
        "state": starts.checked,
        "avatar_url": starts.avatar_url,
        "image": IMAGE,
        "images_url": starts.avatar_url.partition("/avatars/")[0],
    }


async def test_no_process_is_left_running(starts: TwoStarts) -> None:
    """Neither PostgreSQL nor the storage, after the server and after a command."""
    assert (starts.left_running, starts.left_at_the_end) == ([], [])


# `media reconcile`


@pytest.mark.parametrize("run", ["beside", "alone"])
async def test_reconcile_finds_nothing_to_do(starts: TwoStarts, run: str) -> None:
    """Beside a server, whose stand-ins it uses, and alone."""
    end: Finished = getattr(starts, run)

    counts = dict(re.findall(r"│ (.+?) +│ (\d+) +│", end.out))
    assert end.code == 0
    assert len(counts) == 6
    assert set(counts.values()) == {"0"}


async def test_reconcile_shows_progress_on_a_terminal_only(starts: TwoStarts) -> None:
    assert "Asking Mux about unfinished videos" in starts.alone.err
    assert "Comparing with Mux and the image storage" in starts.alone.err
    assert starts.beside.err == ""


async def test_reconcile_fails_when_mux_does_and_shows_the_reason(starts: TwoStarts) -> None:
    """The log is written to standard error."""
    end = starts.while_mux_fails

    table = " ".join(re.findall(r"│ ([^│]+?) +│$", end.out, re.MULTILINE))
    assert end.code == 1
    assert "Mux returned something unusable. Try again in a moment." in table
    assert "Mux failed" in end.err
    assert "Mux failed" not in end.out


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"DATABASE_URL": "postgresql://mambo:horse-staple@127.0.0.1:1/mambo"}, "The database at .* does not respond"),
        ({}, "The database is not migrated to this version: run `mambo db upgrade`"),
    ],
    ids=["no database", "an empty database"],
)
async def test_reconcile_without_a_usable_database_prints_one_sentence(
    environ: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    end = await mambo(*RECONCILE, folder=tmp_path, environ=environ)

    assert (end.code, end.out) == (1, "")
    assert re.fullmatch(rf"Error: {sentence}[^\n]*\.\n", end.err)
    assert "horse-staple" not in end.err
    assert running_on(tmp_path) == []


# Kills while events arrive

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
    """20 uploads whose events arrived during a kill, and twice more after it."""

    accepted: set[str]
    kept: set[str]
    statuses: set[int]
    states: list[tuple[str, bool]]
    events: int


class Killed(NamedTuple):
    """All rounds, and the state after the events of all of them had arrived once more."""

    rounds: list[Round]
    plays_newest: list[bool]
    stored: int
    unapplied: int


async def post_event(client: httpx.AsyncClient, event: dict[str, Any]) -> int | None:
    """Deliver an event, signed now; return the status, or None if the connection broke."""
    body = msgspec.json.encode(event)
    header = {"Mux-Signature": sign(body, SECRET, int(time.time()))}
    try:
        return (await client.post("/api/mux/webhook", content=body, headers=header)).status_code
    except httpx.TransportError:
        return None


def new_video(lesson_id: str) -> Video:
    return Video(Lesson(id=UUID(lesson_id)), VideoUpload(id=uuid4(), mux_upload_id=f"up{uuid4().hex}"))


async def insert_uploads(url: str, videos: list[Video]) -> None:
    """Insert uploads that Mux has created."""
    engine = create_async_engine(url, poolclass=sa.NullPool)
    now = sa.func.now()
    rows = [
        {"id": video.upload.id, "mux_upload_id": video.upload_id, "lesson_id": video.lesson.id, "status": "waiting"}
        for video in videos
    ]
    async with engine.begin() as connection:
        # A video that an earlier round left unfinished must fail the test of that round only.
        await connection.execute(sa.update(VideoUpload).where(VideoUpload.status != "ready").values(status="cancelled"))
        await connection.execute(sa.insert(VideoUpload).values(updated_at=now, expires_at=now), rows)
    await engine.dispose()


def events_of(video: Video) -> list[dict[str, Any]]:
    return [video.upload_event("created"), video.asset_created(), video.asset_event("created"), video.ready()]


async def deliver_and_kill(served: Served, events: list[dict[str, Any]], at: int, kill: Callable[[], None]) -> set[str]:
    """Deliver events over many connections and kill on the way; return the ids of the accepted events."""
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
    """Deliver each event until it gets a response, as Mux does; return the statuses."""

    async def deliver(client: httpx.AsyncClient, event: dict[str, Any]) -> int:
        while True:
            if (status := await post_event(client, event)) is not None:
                return status

    async with asyncio.timeout(PATIENCE_SECONDS), served.client(limits=httpx.Limits(max_connections=16)) as client:
        return set(await asyncio.gather(*(deliver(client, event) for event in events)))


async def one_round(
    served: Served, stack: AsyncExitStack, url: str, victim: str, rng: random.Random
) -> tuple[Served, Round, list[Video]]:
    """Run one round; return the server that runs after it, its result and its videos."""
    videos = [new_video(str(lesson_id)) for [lesson_id] in (await query(url, "SELECT id FROM lesson"))[:VIDEOS]]
    await insert_uploads(url, videos)
    events = [event for video in videos for event in events_of(video)]
    rng.shuffle(events)
    await call_every_worker(served, workers=2)

    def kill() -> None:
        if victim == "server":
            os.killpg(served.process.pid, signal.SIGKILL)
        else:
            os.kill(rng.choice(sorted(connected_workers(served))), signal.SIGKILL)

    accepted = await deliver_and_kill(served, events, rng.randint(10, 40), kill)
    kept = {row[0] for row in await query(url, "SELECT id FROM mux_event")}
    if victim == "server":
        await served.process.wait()
        served = await stack.enter_async_context(serve(served.data_dir.parent, *OPTIONS, environ=environ_of(url)))
    twice = events * 2
    rng.shuffle(twice)
    statuses = await deliver_all(served, twice)
    ids = {event["id"] for event in events}
    stored = {row[0] for row in await query(url, "SELECT id FROM mux_event")}
    return served, Round(accepted, kept, statuses, await states_of(url, videos), len(ids & stored)), videos


OPTIONS = ("--workers", "2")


def environ_of(url: str) -> dict[str, str]:
    return NO_MUX | {"DATABASE_URL": url}


async def states_of(url: str, videos: list[Video]) -> list[tuple[str, bool]]:
    """Return the status of each video, and whether its lesson plays it."""
    rows = await query(
        url, "SELECT v.id, v.status, l.mux_asset_id FROM video_upload v JOIN lesson l ON l.id = lesson_id"
    )
    states = {upload_id: (status, asset_id) for upload_id, status, asset_id in rows}
    return [(states[video.upload.id][0], states[video.upload.id][1] == video.asset_id) for video in videos]


async def kill_while_events_arrive(folder: Path, url: str) -> Killed:
    rng = random.Random(1959)  # noqa: S311 - the same run each time
    rounds, events = [], []
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(serve(folder, *OPTIONS, environ=environ_of(url)))
        for victim in VICTIMS:
            served, outcome, videos = await one_round(served, stack, url, victim, rng)
            rounds.append(outcome)
            events += [video.ready() for video in videos]
        rng.shuffle(events)
        await deliver_all(served, events)
        newest = await states_of(url, videos)
    [(stored,)] = await query(url, "SELECT count(*) FROM mux_event WHERE is_applied")
    [(unapplied,)] = await query(url, "SELECT count(*) FROM mux_event WHERE NOT is_applied")
    return Killed(rounds, [plays for _, plays in newest], stored, unapplied)


@pytest.fixture(scope="module")
def killed(runs: tuple[TwoStarts, Killed]) -> Killed:
    return runs[1]


@pytest.mark.parametrize("number", range(len(VICTIMS)), ids=VICTIMS)
async def test_accepted_events_survive_a_kill(killed: Killed, number: int) -> None:
    """All accepted events are stored. While the server is down some are lost; of two workers one goes on."""
    accepted, kept, *_ = killed.rounds[number]

    assert 10 <= len(accepted) <= 4 * VIDEOS
    assert len(accepted) < 4 * VIDEOS or VICTIMS[number] == "worker"
    assert accepted <= kept


@pytest.mark.parametrize("number", range(len(VICTIMS)), ids=VICTIMS)
async def test_redelivery_after_a_kill_makes_each_video_ready(killed: Killed, number: int) -> None:
    """After each event arrived twice more in any order, each lesson plays its video, and each event is stored."""
    outcome = killed.rounds[number]

    assert outcome.statuses == {200}
    assert outcome.states == [("ready", True)] * VIDEOS
    assert outcome.events == 4 * VIDEOS


async def test_late_events_of_replaced_videos_change_nothing(killed: Killed) -> None:
    """Events of all rounds in any order; each is stored once, and none waits for its upload."""
    assert killed.plays_newest == [True] * VIDEOS
    assert (killed.stored, killed.unapplied) == ((4 + 1) * VIDEOS * len(VICTIMS), 0)


# While Mux hangs

CHECKS, READS, POOL = 20, 30, 5
SESSIONS = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class Hanging(NamedTuple):
    """The responses, and the sessions of the database, while 20 requests wait for a Mux that hangs."""

    reads: set[int]
    done_checks: int
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
        async with serve(folder, environ=environ) as served, admin_client(served) as admin, served.client() as visitor:
            [lesson, *_] = await get_lessons(admin)
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
            done_checks = sum(check.done() for check in checks)
            return Hanging(reads, done_checks, sessions, await asyncio.gather(*checks))


async def test_other_requests_are_served_while_mux_hangs(hanging: Hanging) -> None:
    """All of them get a response before any request that waits for Mux."""
    assert hanging.reads == {200}
    assert hanging.done_checks == 0


async def test_a_request_that_waits_for_mux_holds_no_database_connection(hanging: Hanging) -> None:
    """20 requests wait, and only the sessions of the two pools are open, all of them idle."""
    assert len(hanging.sessions) <= 2 * POOL
    assert set(hanging.sessions) == {"idle"}


async def test_a_request_that_waits_for_mux_fails_with_a_sentence(hanging: Hanging) -> None:
    assert {response.status_code for response in hanging.checks} <= {502, 503, 504}
    for response in hanging.checks:
        assert re.fullmatch(r"Mux [^.]+\. Try again in a moment\.", response.json()["detail"])
