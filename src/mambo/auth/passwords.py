"""Password hashing with Argon2id on a thread of its own, and the refusal of passwords that are easily guessed."""

import asyncio
import runpy
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.metadata import distribution
from threading import BoundedSemaphore
from typing import Any, ParamSpec, TypeVar

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from msgspec import Struct

from mambo.auth.rules import password_weakness
from mambo.errors import Invalid, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

# OWASP's parameters for Argon2id: 19 MiB, 2 passes, 1 lane.
HASHER = PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1)
MAX_WAITING = 32

BCRYPT_PREFIXES = ("$2a$", "$2b$", "$2y$")  # stored by the older service
BCRYPT_BYTES = 72  # bcrypt ignores the rest of a password


class PasswordCheck(Struct, frozen=True):
    """Whether a password was right, and a hash to store if the stored one has other parameters."""

    is_right: bool
    new_hash: str | None = None


class Passwords:
    """Hashes and checks passwords on one thread: more threads would be slower and take 19 MiB each.

    At most `MAX_WAITING` callers wait for the thread, each for at most `wait_seconds`. A caller that is cancelled
    frees its slot.
    """

    def __init__(self, *, wait_seconds: float = 1.0) -> None:
        self._wait_seconds = wait_seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")
        self._slots = BoundedSemaphore(1 + MAX_WAITING)
        self._dummy_hash = HASHER.hash("the password of no account")
        common_passwords()  # loaded here, so that the first registration does not wait for it

    @contextmanager
    def slot(self) -> Iterator["HashingSlot"]:
        """Reserve a slot for one password, before anything else is done for the caller.

        Raises:
            Unavailable: all slots are taken.

        """
        if not self._slots.acquire(blocking=False):
            raise busy()
        slot = HashingSlot(self._thread, self._dummy_hash, self._wait_seconds)
        try:
            yield slot
        finally:
            slot.free(self._slots.release)

    async def hash(self, password: str) -> str:
        """Return the hash to store.

        Raises:
            Unavailable: too many passwords are waiting.

        """
        with self.slot() as slot:
            return await slot.run(HASHER.hash, password)

    async def check(self, password_hash: str | None, password: str) -> PasswordCheck:
        """Compare a password with the stored hash; None takes as long and is never right.

        Raises:
            Unavailable: too many passwords are waiting.

        """
        with self.slot() as slot:
            return await slot.check(password_hash, password)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


class HashingSlot:
    """A reservation of the hashing thread for one call."""

    def __init__(self, thread: ThreadPoolExecutor, dummy_hash: str, wait_seconds: float) -> None:
        self._thread, self._dummy_hash, self._wait_seconds = thread, dummy_hash, wait_seconds
        self._job: Future[Any] | None = None

    async def check(self, password_hash: str | None, password: str) -> PasswordCheck:
        """Compare a password with the stored hash, as `Passwords.check` does."""
        return await self.run(check, password_hash or self._dummy_hash, password, is_dummy=password_hash is None)

    async def run(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call a function on the thread and return its result.

        Raises:
            Unavailable: the thread was not free in time.

        """
        self._job = job = self._thread.submit(function, *arguments, **options)
        result = asyncio.wrap_future(job)
        await asyncio.wait([result], timeout=self._wait_seconds)
        if not result.done() and job.cancel():
            raise busy()
        return await result

    def free(self, release: Callable[[], None]) -> None:
        """Release the slot, but only after the thread has finished a call that it has already started."""
        if self._job is None:
            release()
        else:
            self._job.cancel()
            self._job.add_done_callback(lambda _: release())


def busy() -> Unavailable:
    return Unavailable("Too many people are signing in. Try again in a second.", code="busy", retry_after=1)


def check(stored: str, password: str, *, is_dummy: bool) -> PasswordCheck:
    is_bcrypt = stored.startswith(BCRYPT_PREFIXES)
    matches = matches_bcrypt if is_bcrypt else matches_argon2
    if not matches(stored, password) or is_dummy:
        return PasswordCheck(is_right=False)
    # All hashes get the same parameters: cheaper ones are weaker, and the time that dearer ones take shows that an
    # account exists.
    is_current = not is_bcrypt and not HASHER.check_needs_rehash(stored)
    return PasswordCheck(is_right=True, new_hash=None if is_current else HASHER.hash(password))


def matches_argon2(stored: str, password: str) -> bool:
    try:
        return HASHER.verify(stored, password)
    except (VerificationError, ValueError):  # another password, or not a hash
        return False


def matches_bcrypt(stored: str, password: str) -> bool:
    try:
        return bcrypt.checkpw(password.encode()[:BCRYPT_BYTES], stored.encode())
    except ValueError:  # not a hash
        return False


def require_good_password(field: str, password: str, email: str = "") -> None:
    """Refuse a password that is easily guessed; `field` names it in the error.

    Raises:
        Invalid: it is a common password, consists of the school's words or is the e-mail address.

    """
    if weakness := password_weakness(password, email, common_passwords()):
        raise Invalid.field(field, weakness, "guessable")


@cache
def common_passwords() -> frozenset[str]:
    """Return zxcvbn's list of the 30 000 most common passwords, in lower case.

    Its file is run alone because importing zxcvbn also ranks its words and names, which takes 15 MB and 0.1 s.
    """
    file = distribution("zxcvbn").locate_file("zxcvbn/frequency_lists.py")
    return frozenset(runpy.run_path(str(file))["FREQUENCY_LISTS"]["passwords"])
