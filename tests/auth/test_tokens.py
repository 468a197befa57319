"""Only our own access tokens count."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest

from mambo.auth.tokens import AccessTokens, Claims
from mambo.errors import NotSignedIn

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TOKENS = AccessTokens("a secret key of the tests, long enough", "HS256", timedelta(days=7))
KEY: bytes = TOKENS._key  # noqa: SLF001 - to forge with
WHO = Claims(uuid4(), uuid4())
GOOD: dict[str, Any] = jwt.decode(TOKENS.issue(WHO, NOW), options={"verify_signature": False})


def forge(*, key: bytes = KEY, algorithm: str = "HS256", typ: str = "at+jwt", header: Any = None, **claims: Any) -> str:
    payload = {name: value for name, value in (GOOD | claims).items() if value is not None}
    return jwt.encode(payload, key, algorithm, headers={"typ": typ} | (header or {}))


def raw(header: dict[str, Any], payload: dict[str, Any], signature: str = "") -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, payload)]
    return ".".join([*parts, signature])


def test_a_token_names_whom_it_was_made_for() -> None:
    assert TOKENS.read(TOKENS.issue(WHO, NOW), NOW) == WHO


def test_a_token_holds_neither_role_nor_email() -> None:
    assert set(GOOD) == {"iss", "aud", "sub", "sid", "jti", "iat", "exp"}


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "x" * 1_000_000,
        forge(key=b"another key that is long enough to be one"),
        forge(algorithm="HS384", key=KEY),
        forge(algorithm="HS512", key=KEY),
        raw({"alg": "none", "typ": "at+jwt"}, GOOD),
        raw({"alg": "None", "typ": "at+jwt"}, GOOD, "x"),
        forge(typ="JWT"),
        forge(typ="refresh+jwt"),
        forge(header={"crit": ["x"], "x": 1}),
        forge(iss="someone"),
        forge(iss=None),
        forge(aud="another-api"),
        forge(aud=None),
        forge(sub=None),
        forge(sub="admin"),
        forge(sid=None),
        forge(sid="1"),
        forge(jti=None),
        forge(iat=None),
        forge(exp=None),
        forge(exp=int(NOW.timestamp())),
        forge(exp=int((NOW + timedelta(days=36_500)).timestamp())),
        forge(iat=0),
        forge(exp="soon"),
        forge(exp=1e300),
        forge(exp=[1]),
        TOKENS.issue(WHO, NOW)[:-2] + "AA",
        TOKENS.issue(WHO, NOW - timedelta(days=8)),
    ],
)
def test_a_forged_token_is_nobodys(token: str) -> None:
    with pytest.raises(NotSignedIn):
        TOKENS.read(token, NOW)
