"""Access tokens (RFC 9068 `at+jwt`), which name an account and a session and nothing else, and refresh tokens."""

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

from mambo.auth.rules import refresh_token_end
from mambo.auth.schemas import Token
from mambo.errors import NotSignedIn

ISSUER, AUDIENCE, TYPE = "mambo", "mambo-api", "at+jwt"
CLAIMS = ["iss", "aud", "sub", "sid", "jti", "iat", "exp"]
REFRESH_PREFIX = "mbr_"
SIGN_IN_AGAIN = "Your sign-in is not valid or has ended: sign in again."


class Claims(Struct, frozen=True):
    """The account that a token names, and the session for which it was issued."""

    user_id: UUID
    session_id: UUID


class AccessTokens:
    """Issues and reads access tokens. Whether a session is live is in the database, not in the token.

    The first secret key signs; tokens of the others are still accepted, so that a key can be replaced.
    """

    def __init__(self, secret_keys: Sequence[str], algorithm: str, lifetime: timedelta) -> None:
        keys = [hmac.digest(secret.encode(), b"mambo access token", "sha512") for secret in secret_keys]
        self._keys = {hashlib.sha256(key).hexdigest()[:16]: key for key in keys}
        self._newest = next(iter(self._keys))
        self._algorithm = algorithm
        self.lifetime = lifetime

    def issue(self, claims: Claims, now: datetime, session_end: datetime) -> tuple[str, int]:
        """Return a token and its lifetime in seconds; it expires with the session at the latest."""
        expires = min(now + self.lifetime, session_end)
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
        """Return the claims of a token.

        Raises:
            NotSignedIn: the token is not one of ours, was changed or has expired.

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
    """Generates refresh tokens: opaque, 256 bits.

    Each token (parent) determines the one that replaces it (child), so that a lost response can be repeated although
    only the hash of the child is stored.
    """

    def __init__(self, secret_key: str) -> None:
        self._key = hmac.digest(secret_key.encode(), b"mambo refresh token", "sha512")

    def first(self) -> str:
        """Return a random token, the first of a session."""
        return encode_refresh_token(secrets.token_bytes(32))

    def child_of(self, token: str) -> str:
        """Return the token that replaces this one."""
        return encode_refresh_token(hmac.digest(self._key, b"child|" + token.encode(), "sha256"))


class TokenIssuer(Struct, frozen=True):
    """Builds the response of a sign-in or a refresh."""

    access: AccessTokens
    refresh: RefreshTokens

    def issue(self, claims: Claims, refresh_token: str, now: datetime, session_end: datetime) -> Token:
        """Return a new access token together with the refresh token."""
        access_token, seconds = self.access.issue(claims, now, session_end)
        return Token(
            access_token=access_token,
            expires_in=seconds,
            refresh_token=refresh_token,
            refresh_expires_in=int((refresh_token_end(now, session_end) - now).total_seconds()),
        )


def encode_refresh_token(bits: bytes) -> str:
    return REFRESH_PREFIX + base64.urlsafe_b64encode(bits).decode().rstrip("=")


def hash_of(token: str) -> bytes:
    """Return the SHA-256 of a refresh token or an e-mailed token, which is what the database stores of it."""
    return hashlib.sha256(token.encode()).digest()
