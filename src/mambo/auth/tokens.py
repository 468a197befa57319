"""Access tokens: short JWTs (RFC 9068 `at+jwt`) that name a session and say nothing else; and refresh tokens."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
from msgspec import Struct

from mambo.errors import NotSignedIn

ISSUER, AUDIENCE, TYPE = "mambo", "mambo-api", "at+jwt"
CLAIMS = ["iss", "aud", "sub", "sid", "jti", "iat", "exp"]
REFRESH_PREFIX = "mbr_"
SIGN_IN_AGAIN = "Your sign-in is not valid or has ended: sign in again."


class Claims(Struct, frozen=True):
    """Whom a token names: the person and the sign-in it was made from."""

    user_id: UUID
    session_id: UUID


class AccessTokens:
    """Makes and reads access tokens; whether the session still counts is the database's to say.

    The first of the secret keys signs; the others are still accepted, so that a key can be replaced.
    """

    def __init__(self, secret_keys: Sequence[str], algorithm: str, lifetime: timedelta) -> None:
        keys = [hmac.digest(secret.encode(), b"mambo access token", "sha512") for secret in secret_keys]
        self._keys = {hashlib.sha256(key).hexdigest()[:16]: key for key in keys}
        self._newest = next(iter(self._keys))
        self._algorithm = algorithm
        self.lifetime = lifetime

    def issue(self, claims: Claims, now: datetime, until: datetime) -> tuple[str, int]:
        """A token and its life in seconds; it ends with the session at the latest."""
        expires = min(now + self.lifetime, until)
        payload = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(claims.user_id),
            "sid": str(claims.session_id),
            "jti": uuid4().hex,
            "iat": int(now.timestamp()),
            "exp": int(expires.timestamp()),
        }
        headers = {"typ": TYPE, "kid": self._newest}
        token = jwt.encode(payload, self._keys[self._newest], self._algorithm, headers=headers)
        return token, int(expires.timestamp()) - int(now.timestamp())

    def read(self, token: str, now: datetime) -> Claims:
        """Whom the token names.

        Raises:
            NotSignedIn: it is not one of ours, was changed, or is over.

        """
        try:
            parts = jwt.decode_complete(
                token,
                self._keys[jwt.get_unverified_header(token)["kid"]],
                algorithms=[self._algorithm],
                issuer=ISSUER,
                audience=AUDIENCE,
                # Times are checked below, against the injected clock.
                options={"require": CLAIMS, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            claims = Claims(UUID(parts["payload"]["sub"]), UUID(parts["payload"]["sid"]))
            if parts["header"].get("typ") != TYPE or not self._is_current(parts["payload"], now):
                raise NotSignedIn(SIGN_IN_AGAIN)
        except (jwt.PyJWTError, LookupError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise NotSignedIn(SIGN_IN_AGAIN) from error
        return claims

    def _is_current(self, payload: dict[str, Any], now: datetime) -> bool:
        issued = datetime.fromtimestamp(int(payload["iat"]), UTC)
        expires = datetime.fromtimestamp(int(payload["exp"]), UTC)
        return now < expires <= issued + self.lifetime


class RefreshTokens:
    """Makes refresh tokens: opaque, 256 bits, and each the parent of one other.

    The child follows from its parent, so that a reply that was lost can be given again with nothing stored to give.
    """

    def __init__(self, secret_key: str) -> None:
        self._key = hmac.digest(secret_key.encode(), b"mambo refresh token", "sha512")

    def first(self) -> str:
        return written(secrets.token_bytes(32))

    def child_of(self, token: str) -> str:
        return written(hmac.digest(self._key, b"child|" + token.encode(), "sha256"))


def written(bits: bytes) -> str:
    return REFRESH_PREFIX + base64.urlsafe_b64encode(bits).decode().rstrip("=")


def hash_of(token: str) -> bytes:
    """What is stored of a refresh token."""
    return hashlib.sha256(token.encode()).digest()
