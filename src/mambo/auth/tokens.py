"""Access tokens: short JWTs (RFC 9068 `at+jwt`) that name a session and say nothing else."""

import hmac
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
from msgspec import Struct

from mambo.errors import NotSignedIn

ISSUER, AUDIENCE, TYPE = "mambo", "mambo-api", "at+jwt"
CLAIMS = ["iss", "aud", "sub", "sid", "jti", "iat", "exp"]
SIGN_IN_AGAIN = "Your sign-in is not valid or has ended: sign in again."


class Claims(Struct, frozen=True):
    """Whom a token names: the person and the sign-in it was made from."""

    user_id: UUID
    session_id: UUID


class AccessTokens:
    """Makes and reads access tokens; whether the session still counts is the database's to say."""

    def __init__(self, secret_key: str, algorithm: str, lifetime: timedelta) -> None:
        self._key = hmac.digest(secret_key.encode(), b"mambo access token", "sha512")
        self._algorithm = algorithm
        self.lifetime = lifetime

    def issue(self, claims: Claims, now: datetime) -> str:
        payload = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(claims.user_id),
            "sid": str(claims.session_id),
            "jti": uuid4().hex,
            "iat": int(now.timestamp()),
            "exp": int((now + self.lifetime).timestamp()),
        }
        return jwt.encode(payload, self._key, self._algorithm, headers={"typ": TYPE})

    def read(self, token: str, now: datetime) -> Claims:
        """Whom the token names.

        Raises:
            NotSignedIn: it is not one of ours, was changed, or is over.

        """
        try:
            parts = jwt.decode_complete(
                token,
                self._key,
                algorithms=[self._algorithm],
                issuer=ISSUER,
                audience=AUDIENCE,
                # Times are checked below, against the injected clock.
                options={"require": CLAIMS, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            claims = Claims(UUID(parts["payload"]["sub"]), UUID(parts["payload"]["sid"]))
            if parts["header"].get("typ") != TYPE or not self._is_current(parts["payload"], now):
                raise NotSignedIn(SIGN_IN_AGAIN)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise NotSignedIn(SIGN_IN_AGAIN) from error
        return claims

    def _is_current(self, payload: dict[str, Any], now: datetime) -> bool:
        issued = datetime.fromtimestamp(int(payload["iat"]), UTC)
        expires = datetime.fromtimestamp(int(payload["exp"]), UTC)
        return now < expires <= issued + self.lifetime
