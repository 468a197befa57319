"""Holds callers to the limits: `limits.hit` in a service, `rate_limit=REGISTER` on a route."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from typing import Any

import structlog
from litestar import Request

from mambo.clock import Clock
from mambo.errors import NotSignedIn, TooMany
from mambo.limits.repository import Counters, CountersUnavailable, CountResult, LocalCounters
from mambo.limits.rules import Per, Rate, Rule, in_words
from mambo.web.principal import Connection, principal_of

log = structlog.get_logger(__name__)

LOOPBACK = "loopback"


class RateLimiter:
    """Counts callers in what the workers share, and by itself while that is gone.

    `rates` are those of the settings; `lifts_loopback` spares whoever sits at this machine the limits per address.
    """

    def __init__(self, shared: Counters, rates: Mapping[str, Rate], clock: Clock, *, lifts_loopback: bool) -> None:
        self._shared, self._own = shared, LocalCounters()
        self._rates, self._clock, self._lifts_loopback = rates, clock, lifts_loopback
        self._undecided: Counter[str] = Counter()

    async def hit(self, rule: Rule, name: str = "") -> None:
        """Count one for whatever the rule counts per, such as an account's e-mail address.

        Raises:
            TooMany: the limit is reached; this one does not count.

        """
        await self._hit(rule, name)

    async def forgive(self, rule: Rule, name: str = "") -> None:
        """Start from nothing again."""
        await self._clear(key_of(rule, name))

    @asynccontextmanager
    async def attempt(self, *hits: tuple[Rule, str]) -> AsyncIterator[None]:
        """Count only what fails, that is, raises NotSignedIn; what succeeds clears the account's count.

        All count until it is known, so that no number of attempts at once gets through. The rules are asked in order.

        Raises:
            TooMany: a limit is reached; this attempt does not count.

        """
        held: list[tuple[Rule, str, int]] = []
        try:
            for rule, name in hits:
                if (taken := await self._hit(rule, name)) is not None:
                    held.append((rule, key_of(rule, name), taken.ends))
                    self._undecided[key_of(rule, name)] += 1
            yield
        except NotSignedIn:
            raise
        except Exception:
            for _, key, ends in held:
                await self._give_back(key, ends)
            raise
        else:
            for rule, key, ends in held:
                await (self._clear(key) if rule.per is Per.ACCOUNT else self._give_back(key, ends))
        finally:
            self._undecided -= Counter(key for _, key, _ in held)

    async def _hit(self, rule: Rule, name: str) -> CountResult | None:
        if self._lifts_loopback and rule.per is Per.ADDRESS and name == LOOPBACK:
            return None
        rate, key, now = self._rates[rule.setting], key_of(rule, name), round(self._clock().timestamp() * 1000)
        try:
            taken = await self._shared.take(key, rate, now)
            self._own.note(key, taken)
        except CountersUnavailable:
            taken = self._own.take(key, rate, now)
        if not taken.is_allowed:
            # Those that are still being decided may be given back at any moment.
            wait = 1 if self._undecided[key] else max(ceil((taken.ends - now) / 1000), 1)
            log.warning("limit reached", rule=rule.name)
            raise TooMany(
                f"{rule.reason} Try again in {in_words(wait)}.",
                policy=rule.name,
                limit=rate.limit,
                window=rate.seconds,
                retry_after=wait,
            )
        return taken

    async def _give_back(self, key: str, ends: int) -> None:
        self._own.give_back(key, ends)
        await self._try(self._shared.give_back(key, ends))

    async def _clear(self, key: str) -> None:
        self._own.clear(key)
        await self._try(self._shared.clear(key))

    async def _try(self, change: Awaitable[None]) -> None:
        try:
            await change
        except CountersUnavailable:
            log.warning("a limit stays counted until its window is over")


def key_of(rule: Rule, name: str) -> str:
    """The key of a count; it holds no address or e-mail, and is short whatever was sent."""
    return f"{rule.name}:{blake2b(name.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"


async def enforce_limit(limiter: RateLimiter, request: Request[Any, Any, Any]) -> None:
    """Count a call of a route that names a rule (`@post(..., rate_limit=REGISTER)`).

    Raises:
        TooMany: the limit is reached.

    """
    rule: Rule | None = request.route_handler.opt.get("rate_limit")
    if rule is not None:
        await limiter.hit(rule, name_of(rule.per, request))


def name_of(per: Per, connection: Connection) -> str:
    match per:
        case Per.ADDRESS:
            return address_of(connection)
        case Per.SESSION:
            return str(principal_of(connection).session_id)
        case Per.USER:
            return str(principal_of(connection).user_id)
    return ""


def address_of(connection: Connection) -> str:
    """Whoever is at the other end: an IPv4 address, the /64 of an IPv6 one, or `loopback`.

    Behind a proxy that is the client only if the operator names the proxy (FORWARDED_ALLOW_IPS): uvicorn then reads
    its header, and nothing here ever does.
    """
    host = connection.client.host if connection.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return LOOPBACK
    return str(address) if address.version == 4 else str(ip_network((address, 64), strict=False))  # noqa: PLR2004
