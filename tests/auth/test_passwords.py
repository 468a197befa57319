"""Passwords: hashed one at a time, compared exactly, upgraded at sign-in, and refused when easily guessed."""

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


async def run(passwords: Passwords, work: Callable[[], T]) -> T:
    """Run a function that the test can watch on the hashing thread."""
    with passwords.slot() as slot:
        return await slot.run(work)


@asynccontextmanager
async def busy(passwords: Passwords) -> AsyncIterator[asyncio.Task[None]]:
    """Keep the thread busy during the block; yields the task that it works for."""
    loop, begun, release = asyncio.get_running_loop(), asyncio.Event(), Event()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait()

    working = asyncio.create_task(run(passwords, work))
    try:
        await begun.wait()
        yield working
    finally:
        release.set()
        await asyncio.wait([working])


@asynccontextmanager
async def full(passwords: Passwords) -> AsyncIterator[list[asyncio.Task[PasswordCheck]]]:
    """Keep the thread busy and all slots taken; yields the waiting tasks, which all finish after the block."""
    async with busy(passwords):
        tasks = [asyncio.create_task(passwords.check(HASH, PASSWORD)) for _ in range(MAX_WAITING + 1)]
        [refused], waiting = await asyncio.wait(tasks, timeout=0)
        assert isinstance(refused.exception(), Unavailable)
        yield [task for task in tasks if task in waiting]
    await asyncio.wait(tasks)


def bcrypt_hash(password: str, prefix: str = "$2b$") -> str:
    stored = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(CHEAPEST_BCRYPT)).decode()
    return prefix + stored.removeprefix("$2b$")


# One at a time


async def test_hashing_does_not_block_the_event_loop(passwords: Passwords) -> None:
    checking = asyncio.create_task(passwords.check(HASH, PASSWORD))
    done, _ = await asyncio.wait([checking], timeout=0)

    assert not done
    assert (await checking).is_right


async def test_one_password_is_hashed_at_a_time(passwords: Passwords) -> None:
    """Two threads would need twice the memory and be slower than one."""
    lock = Lock()

    def work() -> bool:
        is_alone = lock.acquire(blocking=False)
        HASHER.hash(PASSWORD)
        if is_alone:
            lock.release()
        return is_alone

    were_alone = await asyncio.gather(*(run(passwords, work) for _ in range(8)))

    assert were_alone == [True] * 8


async def test_a_caller_without_a_slot_is_refused_at_once(passwords: Passwords) -> None:
    """With Retry-After, while the thread is still busy."""
    async with full(passwords) as waiting:
        with pytest.raises(Unavailable) as refused:
            await passwords.hash(PASSWORD)

    assert (refused.value.status, refused.value.problem_code) == (503, "busy")
    assert refused.value.headers == {"Retry-After": "1"}
    assert [task.result() for task in waiting] == [PasswordCheck(is_right=True)] * MAX_WAITING


async def test_slots_are_free_again_after_the_waiting_tasks_finish(passwords: Passwords) -> None:
    async with full(passwords):
        pass

    async with full(passwords) as waiting:
        assert len(waiting) == MAX_WAITING


async def test_a_cancelled_waiting_task_frees_its_slot(passwords: Passwords) -> None:
    async with full(passwords) as waiting:
        cancelled = waiting[MAX_WAITING // 2]
        cancelled.cancel()
        await asyncio.wait([cancelled])

        tasks = [asyncio.create_task(passwords.check(HASH, PASSWORD)) for _ in range(2)]
        [refused], [admitted] = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    assert cancelled.cancelled()
    assert isinstance(refused.exception(), Unavailable)
    assert (await admitted).is_right


async def test_a_cancelled_running_task_keeps_its_slot_until_the_thread_is_free(passwords: Passwords) -> None:
    """Otherwise clients that cancel and retry could queue more work than there are slots."""
    async with busy(passwords) as working:
        working.cancel()
        await asyncio.wait([working])

        tasks = [asyncio.create_task(passwords.check(HASH, PASSWORD)) for _ in range(MAX_WAITING + 1)]
        refused, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait(waiting)

    assert (len(refused), len(waiting)) == (1, MAX_WAITING)


async def test_a_task_that_waits_too_long_is_refused_and_frees_its_slot() -> None:
    passwords = Passwords(wait_seconds=0)

    async with busy(passwords):
        refusals = await asyncio.gather(*(passwords.hash(PASSWORD) for _ in range(MAX_WAITING)), return_exceptions=True)
        again = await asyncio.gather(*(passwords.hash(PASSWORD) for _ in range(MAX_WAITING)), return_exceptions=True)
    passwords.close()

    assert [getattr(error, "problem_code", None) for error in (*refusals, *again)] == ["busy"] * 2 * MAX_WAITING


async def test_a_sign_in_without_a_slot_gets_503(school: School, client: httpx.AsyncClient, app: Litestar) -> None:
    async with full(app.state.resources.passwords):
        response = await client.post("/api/auth/token", json={"email": "ana@example.com", "password": PASSWORD})

    assert (response.status_code, response.json()["code"]) == (503, "busy")
    assert response.headers["retry-after"] == "1"


async def test_a_sign_in_without_a_slot_costs_no_statement(
    school: School, client: httpx.AsyncClient, app: Litestar
) -> None:
    async with full(app.state.resources.passwords):
        with counted(app) as statements:
            await client.post("/api/auth/token", json={"email": "ana@example.com", "password": PASSWORD})

    assert statements == []


@pytest.mark.parametrize(("size", "status"), [(129, 422), (900_000, 422), (1_000_001, 413)])
async def test_a_long_password_is_refused_without_hashing(
    school: School, client: httpx.AsyncClient, app: Litestar, size: int, status: int
) -> None:
    """A request that reached the full queue would get 503."""
    ana = {"email": "ana@example.com", "password": "x" * size}

    async with full(app.state.resources.passwords):
        responses = [
            await client.post("/api/auth/token", json=ana),
            await client.post("/api/auth/register", json=ana | {"first_name": "Ana", "last_name": "Ruiz"}),
        ]

    assert [response.status_code for response in responses] == [status] * 2


# Exact comparison


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
async def test_a_password_is_compared_exactly(passwords: Passwords, password: str, other: str) -> None:
    stored = await passwords.hash(password)

    assert (await passwords.check(stored, password)).is_right
    assert not (await passwords.check(stored, other)).is_right


async def test_a_hash_is_salted_argon2id_with_owasps_parameters(passwords: Passwords) -> None:
    first, second = await passwords.hash(PASSWORD), await passwords.hash(PASSWORD)

    parameters = extract_parameters(first)
    assert first != second
    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19_456, 2, 1)
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)


async def test_an_unknown_or_disabled_account_costs_as_much_hashing_as_a_wrong_password(
    school: School, client: httpx.AsyncClient, app: Litestar
) -> None:
    """In CPU time of the hashing thread, which does not depend on other load."""
    ana = await school.person(password_hash=HASH)
    disabled = await school.person(password_hash=HASH, is_active=False)

    async def cost(email: str, password: str) -> float:
        before = await run(app.state.resources.passwords, thread_time)
        for _ in range(8):
            response = await client.post("/api/auth/token", json={"email": email, "password": password})
            assert response.status_code == 401
        return await run(app.state.resources.passwords, thread_time) - before

    wrong = await cost(ana.email, "wrong")
    assert 0.5 < await cost("nobody@example.com", "wrong") / wrong < 2
    assert 0.5 < await cost(disabled.email, PASSWORD) / wrong < 2


async def test_no_password_is_right_for_an_unknown_account(passwords: Passwords) -> None:
    """Not even the one that is hashed in its place."""
    assert await passwords.check(None, "the password of no account") == PasswordCheck(is_right=False)


# Outdated hashes

OUTDATED = {
    "bcrypt 2b": bcrypt_hash(PASSWORD),
    "bcrypt 2a": bcrypt_hash(PASSWORD, "$2a$"),
    "bcrypt 2y": bcrypt_hash(PASSWORD, "$2y$"),
    "less memory": PasswordHasher(memory_cost=1024, time_cost=2, parallelism=1).hash(PASSWORD),
    "one pass": PasswordHasher(memory_cost=19_456, time_cost=1, parallelism=1).hash(PASSWORD),
    "the library's own cost": PasswordHasher().hash(PASSWORD),
    "a short tag": PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1, hash_len=16).hash(PASSWORD),
    "argon2i": PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1, type=Type.I).hash(PASSWORD),
}


@pytest.mark.parametrize("stored", OUTDATED.values(), ids=OUTDATED)
async def test_a_right_password_upgrades_an_outdated_hash(passwords: Passwords, stored: str) -> None:
    checked = await passwords.check(stored, PASSWORD)

    assert checked.is_right
    assert checked.new_hash is not None
    assert not HASHER.check_needs_rehash(checked.new_hash)
    assert await passwords.check(checked.new_hash, PASSWORD) == PasswordCheck(is_right=True)


@pytest.mark.parametrize("stored", OUTDATED.values(), ids=OUTDATED)
async def test_a_wrong_password_upgrades_nothing(passwords: Passwords, stored: str) -> None:
    assert await passwords.check(stored, "back on six") == PasswordCheck(is_right=False)


# Test vectors of crypt_blowfish and jBCrypt
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VECTORS = [
    ("a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
    ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
    ("~!@#$%^&*()      ~!@#$%^&*()PNBFRD", "$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO"),
    ("U*U*U", "$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
    (f"{ALPHABET}0123456789chars after 72 are ignored", "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"),
]


@pytest.mark.parametrize(("password", "stored"), VECTORS, ids=["1", "3", "34", "5", "109"])
async def test_published_bcrypt_hashes_are_accepted(passwords: Passwords, password: str, stored: str) -> None:
    checked = await passwords.check(stored, password)

    assert checked.is_right
    assert not (await passwords.check(stored, f"x{password}")).is_right


@pytest.mark.parametrize("password", ["x" * 100, "é" * 50, "a" + "é" * 50], ids=["ascii", "two bytes", "cut in one"])
async def test_a_long_bcrypt_password_is_compared_in_full_after_its_upgrade(
    passwords: Passwords, password: str
) -> None:
    """bcrypt ignores what follows the first 72 bytes."""
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
        "$2b$99$" + OUTDATED["bcrypt 2b"][7:],
        OUTDATED["bcrypt 2b"][:-1],
        OUTDATED["bcrypt 2b"].replace("$2b$", "$2x$"),
        OUTDATED["bcrypt 2b"][:-1] + "ñ",
        "{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3",
        "5f4dcc3b5aa765d61d8327deb882cf99",
    ],
)
async def test_no_password_is_right_for_a_malformed_hash(passwords: Passwords, stored: str) -> None:
    assert await passwords.check(stored, PASSWORD) == PasswordCheck(is_right=False)


@pytest.mark.parametrize("stored", [OUTDATED["bcrypt 2b"], OUTDATED["less memory"]], ids=["bcrypt", "argon2"])
async def test_a_sign_in_stores_the_upgraded_hash(school: School, client: httpx.AsyncClient, stored: str) -> None:
    ana = await school.person(password_hash=stored)
    credentials = {"email": ana.email, "password": PASSWORD}

    first = await client.post("/api/auth/token", json=credentials)

    upgraded = await school.scalar(sa.select(User.password_hash).where(User.id == ana.user_id))
    second = await client.post("/api/auth/token", json=credentials)
    assert (first.status_code, second.status_code) == (200, 200)
    assert not HASHER.check_needs_rehash(upgraded)
    assert await school.scalar(sa.select(User.password_hash).where(User.id == ana.user_id)) == upgraded


async def test_concurrent_sign_ins_that_upgrade_a_hash_all_succeed(school: School, client: httpx.AsyncClient) -> None:
    ana = await school.person(password_hash=OUTDATED["bcrypt 2b"])
    credentials = {"email": ana.email, "password": PASSWORD}

    responses = await asyncio.gather(*(client.post("/api/auth/token", json=credentials) for _ in range(5)))

    assert [response.status_code for response in responses] == [200] * 5


async def test_a_failed_sign_in_does_not_change_the_hash(school: School, client: httpx.AsyncClient) -> None:
    ana = await school.person(password_hash=OUTDATED["bcrypt 2b"])

    response = await client.post("/api/auth/token", json={"email": ana.email, "password": "back on six"})

    assert response.status_code == 401
    assert await school.scalar(sa.select(User.password_hash).where(User.id == ana.user_id)) == OUTDATED["bcrypt 2b"]


# Weak passwords


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
def test_a_common_password_is_refused(password: str) -> None:
    with pytest.raises(Invalid) as refused:
        require_good_password("new_password", password)

    [problem] = refused.value.errors
    assert (problem.field, problem.code) == ("new_password", "guessable")
    assert "choose" in refused.value.detail
    assert "e-mail" not in refused.value.detail


@pytest.mark.parametrize(
    "password", ["ana.ruiz@example.com", "Ana.Ruiz@Example.com", "ana.ruiz", "ANA.RUIZ", "ana.ruiz1986", "ana.ruiz!"]
)
def test_the_own_email_address_is_refused(password: str) -> None:
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
def test_other_passwords_are_accepted(password: str) -> None:
    require_good_password("password", password, "ana.ruiz@example.com")


def test_a_password_may_contain_a_short_address() -> None:
    require_good_password("password", "a!kQ#zv2", "a@example.com")


def test_the_list_of_common_passwords_is_long_and_in_lower_case() -> None:
    """ASVS 6.2.4 requires 3000; they are compared in lower case."""
    common = common_passwords()

    assert len(common) >= 3000
    assert {password.casefold() for password in common} == common


async def test_registration_refuses_a_common_password(school: School, client: httpx.AsyncClient) -> None:
    ana = {"email": "ana@example.com", "password": "Password123!", "first_name": "Ana", "last_name": "Ruiz"}

    response = await client.post("/api/auth/register", json=ana)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "password"
    assert "Password123!" not in response.text
    assert await school.scalar(sa.select(sa.func.count()).select_from(User)) == 0
