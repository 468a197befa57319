"""Passwords: Argon2id, one at a time, never on the event loop; and which ones are too easily guessed."""

import asyncio
import re
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

from mambo.errors import Invalid, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

# OWASP's cost for Argon2id: 19 MiB, 2 passes, 1 lane.
HASHER = PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1)
WAITING = 32

BCRYPT = ("$2a$", "$2b$", "$2y$")  # what the older service stored
BCRYPT_BYTES = 72  # it never read more of a password

SIGN = r"[ -@\[-`{-~]"  # an ASCII digit, punctuation mark or space
UP_TO_FIVE_SIGNS = re.compile(SIGN + r"{1,5}\Z")  # a year and a mark
SCHOOLS_WORDS = re.compile(rf"{SIGN}*(?:(?:the|mambo|inn|salsa|on[ -/_]*(?:2|two)|dance[rs]?|dancing){SIGN}*)+")


class Checked(Struct, frozen=True):
    """Whether the password was right, and then the hash to store instead where the stored one is of another cost."""

    is_right: bool
    new_hash: str | None = None


class Passwords:
    """Hashes and checks passwords on one thread of its own: more threads are slower and take 19 MiB each.

    One is at work and at most `WAITING` wait, for `wait_seconds` at most; a caller who leaves gives up its place.
    """

    def __init__(self, *, wait_seconds: float = 1.0) -> None:
        self._wait_seconds = wait_seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")
        self._places = BoundedSemaphore(1 + WAITING)
        self._nobody = HASHER.hash("nobody's password")
        common_passwords()  # now, and not while the first account is made

    @contextmanager
    def place(self) -> Iterator["HashingSlot"]:
        """Take a place, before anything else is done for whoever needs one.

        Raises:
            Unavailable: too many are waiting.

        """
        if not self._places.acquire(blocking=False):
            raise busy()
        place = HashingSlot(self._thread, self._nobody, self._wait_seconds)
        try:
            yield place
        finally:
            place.leave(self._places.release)

    async def hash(self, password: str) -> str:
        """Make the hash to store.

        Raises:
            Unavailable: too many are waiting.

        """
        with self.place() as place:
            return await place.in_turn(HASHER.hash, password)

    async def check(self, password_hash: str | None, password: str) -> Checked:
        """Compare a password with the stored hash; without one it takes as long, and is not right.

        Raises:
            Unavailable: too many are waiting.

        """
        with self.place() as place:
            return await place.check(password_hash, password)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


class HashingSlot:
    """A place in the queue, for one piece of work."""

    def __init__(self, thread: ThreadPoolExecutor, nobody: str, wait_seconds: float) -> None:
        self._thread, self._nobody, self._wait_seconds = thread, nobody, wait_seconds
        self._turn: Future[Any] | None = None

    async def check(self, password_hash: str | None, password: str) -> Checked:
        """As `Passwords.check`."""
        return await self.in_turn(check, password_hash or self._nobody, password, is_nobody=password_hash is None)

    async def in_turn(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Do the work on the thread.

        Raises:
            Unavailable: its turn did not come in time.

        """
        turn = self._thread.submit(work, *arguments, **options)
        self._turn = turn
        result = asyncio.wrap_future(turn)
        await asyncio.wait([result], timeout=self._wait_seconds)
        if not result.done() and turn.cancel():
            raise busy()
        return await result

    def leave(self, release: Callable[[], None]) -> None:
        """Give the place up; work that has begun goes on, though nobody waits for it, and keeps it until then."""
        if self._turn is None:
            release()
        else:
            self._turn.cancel()
            self._turn.add_done_callback(lambda _: release())


def busy() -> Unavailable:
    return Unavailable("Too many people are signing in. Try again in a second.", code="busy", retry_after=1)


def check(stored: str, password: str, *, is_nobody: bool) -> Checked:
    is_bcrypt = stored.startswith(BCRYPT)
    matches = matches_bcrypt if is_bcrypt else matches_argon2
    if not matches(stored, password) or is_nobody:
        return Checked(is_right=False)
    # All hashes come to one cost: a cheaper one is weaker, a dearer one shows by its time that there is an account.
    is_current = not is_bcrypt and not HASHER.check_needs_rehash(stored)
    return Checked(is_right=True, new_hash=None if is_current else HASHER.hash(password))


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
    """Refuse what is tried first: common passwords, the school's words, and the person's own e-mail address.

    Capitals, and up to five digits and signs at the end, make no difference.

    Raises:
        Invalid: the password is one of those.

    """
    folded, address = password.casefold().strip(), email.casefold().strip()
    forms = {folded, UP_TO_FIVE_SIGNS.sub("", folded)}
    if address and forms & {address, address.partition("@")[0]}:
        raise Invalid.field(
            field, "is your e-mail address or its first part: choose a few words that nobody links to you", "guessable"
        )
    if not folded or forms & common_passwords() or SCHOOLS_WORDS.fullmatch(folded):
        raise Invalid.field(
            field, "is among the first that are guessed: choose a few words that do not belong together", "guessable"
        )


@cache
def common_passwords() -> frozenset[str]:
    """The 30 000 most common passwords, in lower case, as zxcvbn lists them.

    To import zxcvbn would rank its lists of words and names too, for 15 MB and a tenth of a second.
    """
    file = distribution("zxcvbn").locate_file("zxcvbn/frequency_lists.py")
    return frozenset(runpy.run_path(str(file))["FREQUENCY_LISTS"]["passwords"])
