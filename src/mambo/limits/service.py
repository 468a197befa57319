"""Enforces the limits: `limiter.hit(...)` in a service, `rate_limit=REGISTER` on a route."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from typing import Any

import structlog
from cachetools import LRUCache
from litestar import Request

from mambo.adapters.counters import Counters, CountersUnavailable, CountResult
from mambo.clock import Clock
from mambo.errors import NotSignedIn, TooMany
from mambo.limits.rules import Per, Rate, Rule, in_words
from mambo.web.principal import Connection, principal_of

log = structlog.get_logger(__name__)

LOOPBACK = "loopback"
KEPT = 10_000


class RateLimiter:
    """Counts calls in the counters that workers share, and in this process while those are unavailable.

    `rates` are those of the settings, by name. With `lifts_loopback`, limits per address do not apply to this machine.
    """

    def __init__(self, shared: Counters, rates: Mapping[str, Rate], clock: Clock, *, lifts_loopback: bool) -> None:
        self._shared, self._local = shared, LocalCounters()
        self._rates, self._clock, self._lifts_loopback = rates, clock, lifts_loopback
        self._running: Counter[str] = Counter()  # attempts whose block has not ended

    async def hit(self, rule: Rule, name: str = "") -> None:
        """Count one call; `name` is what the rule counts per, such as an account's e-mail address.

        Raises:
            TooMany: the limit is reached; this call does not count.

        """
        await self._hit(rule, name)

    async def clear(self, rule: Rule, name: str = "") -> None:
        """Set the count to zero."""
        await self._clear(key_of(rule, name))

    @asynccontextmanager
    async def attempt(self, *hits: tuple[Rule, str]) -> AsyncIterator[None]:
        """Count a block only if it raises NotSignedIn; a block that succeeds clears the account's count.

        Every attempt counts while its block runs, so that no number of concurrent attempts exceeds a limit. The rules
        are checked in order.

        Raises:
            TooMany: a limit is reached; this attempt does not count.

        """
        taken: list[tuple[Rule, str, int]] = []
        try:
            for rule, name in hits:
                if (result := await self._hit(rule, name)) is not None:
                    taken.append((rule, key_of(rule, name), result.ends))
                    self._running[key_of(rule, name)] += 1
            yield
        except NotSignedIn:
            raise
        except Exception:
            for _, key, ends in taken:
                await self._give_back(key, ends)
            raise
        else:
            for rule, key, ends in taken:
                await (self._clear(key) if rule.per is Per.ACCOUNT else self._give_back(key, ends))
        finally:
            self._running -= Counter(key for _, key, _ in taken)

    async def _hit(self, rule: Rule, name: str) -> CountResult | None:
        if self._lifts_loopback and rule.per is Per.ADDRESS and name == LOOPBACK:
            return None
        rate, key, now = self._rates[rule.setting], key_of(rule, name), round(self._clock().timestamp() * 1000)
        window = rate.seconds * 1000
        try:
            result = await self._shared.take(key, limit=rate.limit, window=window, now=now)
            self._local.remember(key, result)
        except CountersUnavailable:
            result = self._local.take(key, limit=rate.limit, window=window, now=now)
        if not result.is_allowed:
            # An attempt that is running may be given back at any moment.
            wait = 1 if self._running[key] else max(ceil((result.ends - now) / 1000), 1)
            log.warning("limit reached", rule=rule.name)
            raise TooMany(
                f"{rule.reason} Try again in {in_words(wait)}.",
                policy=rule.name,
                limit=rate.limit,
                window=rate.seconds,
                retry_after=wait,
            )
        return result

    async def _give_back(self, key: str, ends: int) -> None:
        self._local.give_back(key, ends)
        await self._try(self._shared.give_back(key, ends))

    async def _clear(self, key: str) -> None:
        self._local.clear(key)
        await self._try(self._shared.clear(key))

    async def _try(self, change: Awaitable[None]) -> None:
        try:
            await change
        except CountersUnavailable:
            log.warning("a count could not be given back")


class LocalCounters:
    """The 10 000 counters that this process used last, for the time in which the shared ones are unavailable."""

    def __init__(self) -> None:
        self._kept: LRUCache[str, tuple[int, int]] = LRUCache(KEPT)

    def remember(self, key: str, result: CountResult) -> None:
        """Store what the shared counter returned."""
        self._kept[key] = (result.count, result.ends)

    def take(self, key: str, *, limit: int, window: int, now: int) -> CountResult:
        count, ends = self._kept.get(key, (0, 0))
        if not now < ends <= now + 2 * window:
            count, ends = 0, now + window
        is_allowed = count < limit
        self._kept[key] = (count + is_allowed, ends)
        return CountResult(is_allowed, count + is_allowed, ends)

    def give_back(self, key: str, ends: int) -> None:
        count, current = self._kept.get(key, (0, 0))
        if current == ends and count > 0:
            self._kept[key] = (count - 1, ends)

    def clear(self, key: str) -> None:
        self._kept.pop(key, None)


def key_of(rule: Rule, name: str) -> str:
    """Return the key of a counter: short, and without the address or e-mail address itself."""
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
    """Return what is counted per for this request.

    Raises:
        ValueError: the rule counts per account, which only the handler knows.

    """
    match per:
        case Per.ADDRESS:
            return address_of(connection)
        case Per.SESSION:
            return str(principal_of(connection).session_id)
        case Per.USER:
            return str(principal_of(connection).user_id)
        case Per.ALL:
            return ""
        case Per.ACCOUNT:
            raise ValueError(per)


def address_of(connection: Connection) -> str:
    """Return the client's IPv4 address, the /64 of its IPv6 address, or `loopback`.

    Behind a proxy this is the client's only if FORWARDED_ALLOW_IPS names the proxy: uvicorn then reads the proxy's
    header. Nothing here reads one.
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
