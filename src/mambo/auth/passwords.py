"""Passwords: Argon2id, one at a time, never on the event loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# OWASP's cost for Argon2id: 19 MiB, 2 passes, 1 lane.
HASHER = PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1)


class Passwords:
    """Hashes and checks passwords on one thread of its own: more threads are slower and take 19 MiB each."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")
        self._nobody = HASHER.hash("nobody's password")

    async def hash(self, password: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._thread, HASHER.hash, password)

    async def match(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the hashed one; without a hash it takes as long, and is not."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._match, password_hash, password)

    def _match(self, password_hash: str | None, password: str) -> bool:
        try:
            return HASHER.verify(password_hash or self._nobody, password) and password_hash is not None
        except (VerificationError, InvalidHashError):
            return False

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
