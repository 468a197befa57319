"""Passwords: hashed in turn, at one cost, as typed; older hashes are renewed, what is easily guessed is refused."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from threading import Event, Lock
from time import thread_time
from typing import TypeVar

import bcrypt
import httpx
import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher, Type, extract_parameters
from litestar import Litestar

from conftest import counted
from factories import School
from mambo.auth.passwords import HASHER, MAX_WAITING, PasswordCheck, Passwords, common_passwords, require_good_password
from mambo.errors import Invalid, Unavailable
from mambo.users.models import User

T = TypeVar("T")

PASSWORD = "forward on six, back on two"
HASH = HASHER.hash(PASSWORD)
CHEAPEST_BCRYPT = 4


@pytest.fixture(scope="module")
def passwords() -> Iterator[Passwords]:
    passwords = Passwords(wait_seconds=60)
    yield passwords
    passwords.close()


async def in_turn(passwords: Passwords, work: Callable[[], T]) -> T:
    """Have the thread do something that the test can watch."""
    with passwords.slot() as slot:
        return await slot.run(work)


@asynccontextmanager
async def at_work(passwords: Passwords) -> AsyncIterator[asyncio.Task[None]]:
    """Keep the thread at work meanwhile; yields whom it works for."""
    loop, begun, release = asyncio.get_running_loop(), asyncio.Event(), Event()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait()

    working = asyncio.create_task(in_turn(passwords, work))
    try:
        await begun.wait()
        yield working
    finally:
        release.set()
        await asyncio.wait([working])


@asynccontextmanager
async def full(passwords: Passwords) -> AsyncIterator[list[asyncio.Task[PasswordCheck]]]:
    """Keep the thread at work and every place taken; yields those that wait, who are all served in the end."""
    async with at_work(passwords):
        asking = [asyncio.create_task(passwords.check(HASH, PASSWORD)) for _ in range(MAX_WAITING + 1)]
        [refused], waiting = await asyncio.wait(asking, timeout=0)
        assert isinstance(refused.exception(), Unavailable)
        yield [task for task in asking if task in waiting]
    await asyncio.wait(asking)


def bcrypt_hash(password: str, prefix: str = "$2b$") -> str:
    stored = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(CHEAPEST_BCRYPT)).decode()
    return prefix + stored.removeprefix("$2b$")


# One at a time


async def test_the_loop_goes_on_while_a_password_is_hashed(passwords: Passwords) -> None:
    asking = asyncio.create_task(passwords.check(HASH, PASSWORD))
    done, _ = await asyncio.wait([asking], timeout=0)

    assert not done
    assert (await asking).is_right


async def test_however_many_ask_one_password_is_hashed_at_a_time(passwords: Passwords) -> None:
    """Two at once would be two threads' worth of memory, and slower than one."""
    turn = Lock()

    def work() -> bool:
        is_alone = turn.acquire(blocking=False)
        HASHER.hash(PASSWORD)
        if is_alone:
            turn.release()
        return is_alone

    were_alone = await asyncio.gather(*(in_turn(passwords, work) for _ in range(8)))

    assert were_alone == [True] * 8


async def test_one_more_than_can_wait_is_told_to_come_back_in_a_second(passwords: Passwords) -> None:
    """At once, while the thread is held: nothing is hashed for them."""
    async with full(passwords) as waiting:
        with pytest.raises(Unavailable) as refused:
            await passwords.hash(PASSWORD)

    assert (refused.value.status, refused.value.problem_code) == (503, "busy")
    assert refused.value.headers == {"Retry-After": "1"}
    assert [task.result() for task in waiting] == [PasswordCheck(is_right=True)] * MAX_WAITING


async def test_there_is_room_again_once_the_waiting_are_served(passwords: Passwords) -> None:
    async with full(passwords):
        pass

    async with full(passwords) as waiting:
        assert len(waiting) == MAX_WAITING


async def test_whoever_leaves_gives_up_their_place(passwords: Passwords) -> None:
    async with full(passwords) as waiting:
        gone = waiting[MAX_WAITING // 2]
        gone.cancel()
        await asyncio.wait([gone])

        asking = [asyncio.create_task(passwords.check(HASH, PASSWORD)) for _ in range(2)]
        [refused], [admitted] = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)

    assert gone.cancelled()
    assert isinstance(refused.exception(), Unavailable)
    assert (await admitted).is_right


async def test_whoever_leaves_while_the_thread_works_for_them_keeps_it_busy(passwords: Passwords) -> None:
    """The work goes on, so that leaving and coming again never puts more than a thread's worth to work."""
    async with at_work(passwords) as working:
        working.cancel()
        await asyncio.wait([working])

        asking = [asyncio.create_task(passwords.check(HASH, PASSWORD)) for _ in range(MAX_WAITING + 1)]
        refused, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait(waiting)

    assert (len(refused), len(waiting)) == (1, MAX_WAITING)


async def test_whoever_waits_too_long_is_told_to_come_back_and_gives_up_their_place() -> None:
    """Though there is room: the thread may be held by something slow."""
    hurried = Passwords(wait_seconds=0)

    async with at_work(hurried):
        refusals = await asyncio.gather(*(hurried.hash(PASSWORD) for _ in range(MAX_WAITING)), return_exceptions=True)
        again = await asyncio.gather(*(hurried.hash(PASSWORD) for _ in range(MAX_WAITING)), return_exceptions=True)
    hurried.close()

    assert [getattr(error, "problem_code", None) for error in (*refusals, *again)] == ["busy"] * 2 * MAX_WAITING


async def test_a_sign_in_that_finds_no_room_is_answered_503(
    school: School, client: httpx.AsyncClient, app: Litestar
) -> None:
    async with full(app.state.resources.passwords):
        response = await client.post("/api/auth/token", json={"email": "ana@example.com", "password": PASSWORD})

    assert (response.status_code, response.json()["code"]) == (503, "busy")
    assert response.headers["retry-after"] == "1"


async def test_a_sign_in_that_finds_no_room_costs_no_statement(
    school: School, client: httpx.AsyncClient, app: Litestar
) -> None:
    async with full(app.state.resources.passwords):
        with counted(app) as statements:
            await client.post("/api/auth/token", json={"email": "ana@example.com", "password": PASSWORD})

    assert statements == []


@pytest.mark.parametrize(("size", "status"), [(129, 422), (900_000, 422), (1_000_001, 413)])
async def test_a_long_password_is_refused_before_it_waits_to_be_hashed(
    school: School, client: httpx.AsyncClient, app: Litestar, size: int, status: int
) -> None:
    """Whoever got as far as the thread would be told that it is busy."""
    ana = {"email": "ana@example.com", "password": "x" * size}

    async with full(app.state.resources.passwords):
        responses = [
            await client.post("/api/auth/token", json=ana),
            await client.post("/api/auth/register", json=ana | {"first_name": "Ana", "last_name": "Ruiz"}),
        ]

    assert [response.status_code for response in responses] == [status] * 2


# As typed


@pytest.mark.parametrize(
    ("password", "other"),
    [
        (PASSWORD, PASSWORD.upper()),
        (PASSWORD, f"{PASSWORD} "),
        (PASSWORD, PASSWORD[:-1]),
        ("x" * 127 + "y", "x" * 127 + "z"),
        ("ñandú en Santurce", "n\u0303andu\u0301 en Santurce"),
        ("🕺💃🎶🥁🎺🎷🪘🎹", "🕺💃🎶🥁🎺🎷🪘🎸"),
        ("nul\0one and two", "nul\0two and one"),
        ("ﬁve six seven", "five six seven"),
    ],
)
async def test_a_password_is_what_was_typed_to_the_last_bit(passwords: Passwords, password: str, other: str) -> None:
    stored = await passwords.hash(password)

    assert (await passwords.check(stored, password)).is_right
    assert not (await passwords.check(stored, other)).is_right


async def test_a_hash_is_argon2id_of_owasps_cost_and_salted(passwords: Passwords) -> None:
    first, second = await passwords.hash(PASSWORD), await passwords.hash(PASSWORD)

    parameters = extract_parameters(first)
    assert first != second
    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19_456, 2, 1)
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)


async def test_an_unknown_or_disabled_account_costs_what_a_wrong_password_costs(
    school: School, client: httpx.AsyncClient, app: Litestar
) -> None:
    """In the time of the hashing thread, which does not run while others do."""
    ana = await school.person(password_hash=HASH)
    disabled = await school.person(password_hash=HASH, is_active=False)

    async def cost(email: str, password: str) -> float:
        before = await in_turn(app.state.resources.passwords, thread_time)
        for _ in range(8):
            response = await client.post("/api/auth/token", json={"email": email, "password": password})
            assert response.status_code == 401
        return await in_turn(app.state.resources.passwords, thread_time) - before

    wrong = await cost(ana.email, "wrong")
    assert 0.5 < await cost("nobody@example.com", "wrong") / wrong < 2
    assert 0.5 < await cost(disabled.email, PASSWORD) / wrong < 2


async def test_nobody_has_a_password(passwords: Passwords) -> None:
    """Not even the one that is hashed for an unknown account."""
    assert await passwords.check(None, "nobody's password") == PasswordCheck(is_right=False)


# Older hashes

OLDER = {
    "bcrypt 2b": bcrypt_hash(PASSWORD),
    "bcrypt 2a": bcrypt_hash(PASSWORD, "$2a$"),
    "bcrypt 2y": bcrypt_hash(PASSWORD, "$2y$"),
    "less memory": PasswordHasher(memory_cost=1024, time_cost=2, parallelism=1).hash(PASSWORD),
    "one pass": PasswordHasher(memory_cost=19_456, time_cost=1, parallelism=1).hash(PASSWORD),
    "the library's own cost": PasswordHasher().hash(PASSWORD),
    "a short tag": PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1, hash_len=16).hash(PASSWORD),
    "argon2i": PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1, type=Type.I).hash(PASSWORD),
}


@pytest.mark.parametrize("stored", OLDER.values(), ids=OLDER)
async def test_a_right_password_renews_a_hash_of_another_cost(passwords: Passwords, stored: str) -> None:
    checked = await passwords.check(stored, PASSWORD)

    assert checked.is_right
    assert checked.new_hash is not None
    assert not HASHER.check_needs_rehash(checked.new_hash)
    assert await passwords.check(checked.new_hash, PASSWORD) == PasswordCheck(is_right=True)


@pytest.mark.parametrize("stored", OLDER.values(), ids=OLDER)
async def test_a_wrong_password_renews_nothing(passwords: Passwords, stored: str) -> None:
    assert await passwords.check(stored, "back on six") == PasswordCheck(is_right=False)


# crypt_blowfish's and jBCrypt's vectors
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VECTORS = [
    ("a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
    ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
    ("~!@#$%^&*()      ~!@#$%^&*()PNBFRD", "$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO"),
    ("U*U*U", "$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
    (f"{ALPHABET}0123456789chars after 72 are ignored", "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"),
]


@pytest.mark.parametrize(("password", "stored"), VECTORS, ids=["1", "3", "34", "5", "109"])
async def test_bcrypts_published_hashes_are_read(passwords: Passwords, password: str, stored: str) -> None:
    checked = await passwords.check(stored, password)

    assert checked.is_right
    assert not (await passwords.check(stored, f"x{password}")).is_right


@pytest.mark.parametrize("password", ["x" * 100, "é" * 50, "a" + "é" * 50], ids=["ascii", "two bytes", "cut in one"])
async def test_a_long_password_of_the_older_service_is_read_as_it_was_and_counts_whole_from_then_on(
    passwords: Passwords, password: str
) -> None:
    """bcrypt read 72 bytes, and not one more."""
    stored = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(CHEAPEST_BCRYPT)).decode()

    checked = await passwords.check(stored, password)

    assert (await passwords.check(stored, f"{password} and more")).is_right
    assert not (await passwords.check(checked.new_hash, f"{password} and more")).is_right
    assert (await passwords.check(checked.new_hash, password)).is_right


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "-",
        "forward on six, back on two",
        "ñ",
        "\ud800",
        "$argon2id$",
        "$argon2id$v=19$m=19456,t=2,p=1$abc$def",
        HASH[:-1],
        HASH.replace("m=19456", "m=4194304000"),
        HASH.replace("argon2id", "argon2x"),
        "$2b$",
        "$2b$04$!",
        "$2b$99$" + OLDER["bcrypt 2b"][7:],
        OLDER["bcrypt 2b"][:-1],
        OLDER["bcrypt 2b"].replace("$2b$", "$2x$"),
        OLDER["bcrypt 2b"][:-1] + "ñ",
        "{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3",
        "5f4dcc3b5aa765d61d8327deb882cf99",
    ],
)
async def test_what_is_not_a_hash_is_nobodys_password(passwords: Passwords, stored: str) -> None:
    assert await passwords.check(stored, PASSWORD) == PasswordCheck(is_right=False)


@pytest.mark.parametrize("stored", [OLDER["bcrypt 2b"], OLDER["less memory"]], ids=["bcrypt", "argon2"])
async def test_a_sign_in_stores_the_renewed_hash(school: School, client: httpx.AsyncClient, stored: str) -> None:
    ana = await school.person(password_hash=stored)
    credentials = {"email": ana.email, "password": PASSWORD}

    first = await client.post("/api/auth/token", json=credentials)

    renewed = await school.scalar(sa.select(User.password_hash).where(User.id == ana.user_id))
    second = await client.post("/api/auth/token", json=credentials)
    assert (first.status_code, second.status_code) == (200, 200)
    assert not HASHER.check_needs_rehash(renewed)
    assert await school.scalar(sa.select(User.password_hash).where(User.id == ana.user_id)) == renewed


async def test_devices_that_renew_a_hash_at_once_all_sign_in(school: School, client: httpx.AsyncClient) -> None:
    ana = await school.person(password_hash=OLDER["bcrypt 2b"])
    credentials = {"email": ana.email, "password": PASSWORD}

    responses = await asyncio.gather(*(client.post("/api/auth/token", json=credentials) for _ in range(5)))

    assert [response.status_code for response in responses] == [200] * 5


async def test_a_failed_sign_in_leaves_the_hash_as_it_is(school: School, client: httpx.AsyncClient) -> None:
    ana = await school.person(password_hash=OLDER["bcrypt 2b"])

    response = await client.post("/api/auth/token", json={"email": ana.email, "password": "back on six"})

    assert response.status_code == 401
    assert await school.scalar(sa.select(User.password_hash).where(User.id == ana.user_id)) == OLDER["bcrypt 2b"]


# Easily guessed


@pytest.mark.parametrize(
    "password",
    [
        "12345678",
        "password",
        "PASSWORD",
        "pAssw0rd",
        " password ",
        "sunshine",
        "sunshine!",
        "mustang2024",
        "Dragon2024!",
        "trustno1",
        "mambo123",
        "MAMBO-2026",
        "mambomambo",
        "salsa salsa",
        "Salsa1234567890",
        "1986mambo!!",
        "mambo on2",
        "On Two On Two",
        "The Mambo Inn",
        "salsadancer",
        " " * 8,
    ],
)
def test_what_is_tried_first_is_no_password(password: str) -> None:
    with pytest.raises(Invalid) as refused:
        require_good_password("new_password", password)

    [problem] = refused.value.errors
    assert (problem.field, problem.code) == ("new_password", "guessable")
    assert "choose" in refused.value.detail
    assert "e-mail" not in refused.value.detail


@pytest.mark.parametrize(
    "password", ["ana.ruiz@example.com", "Ana.Ruiz@Example.com", "ana.ruiz", "ANA.RUIZ", "ana.ruiz1986", "ana.ruiz!"]
)
def test_ones_own_email_is_no_password(password: str) -> None:
    with pytest.raises(Invalid, match="your e-mail address"):
        require_good_password("password", password, "ana.ruiz@example.com")


@pytest.mark.parametrize(
    "password",
    [
        "back on two",
        "on two since 1986",
        "mambo with Marisol",
        "ñandú 🕺💃 sí",
        "🕺💃🎶🥁🎺🎷🪘🎹",
        "ana.ruiz on the floor",
        "8#kQ!zv2",
        "x" * 128,
        "sunshine 1986-03-02",
    ],
)
def test_other_words_are_a_password(password: str) -> None:
    require_good_password("password", password, "ana.ruiz@example.com")


def test_whoever_has_a_short_address_may_use_its_letters() -> None:
    require_good_password("password", "a!kQ#zv2", "a@example.com")


def test_the_common_passwords_are_in_lower_case_and_many() -> None:
    """The form they are compared in; the standard asks for 3000 (ASVS 6.2.4)."""
    common = common_passwords()

    assert len(common) >= 3000
    assert {password.casefold() for password in common} == common


async def test_registering_refuses_what_is_easily_guessed(school: School, client: httpx.AsyncClient) -> None:
    ana = {"email": "ana@example.com", "password": "Password123!", "first_name": "Ana", "last_name": "Ruiz"}

    response = await client.post("/api/auth/register", json=ana)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "password"
    assert "Password123!" not in response.text
    assert await school.scalar(sa.select(sa.func.count()).select_from(User)) == 0
