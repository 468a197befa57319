"""Access tokens: what they contain, and that forged ones are refused."""

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
SECRET = "a secret key of the tests, long enough"
TOKENS = AccessTokens([SECRET], "HS256", timedelta(days=7))
[(KID, KEY)] = TOKENS._keys.items()  # noqa: SLF001 - to forge tokens with
CLAIMS = Claims(uuid4(), uuid4())
LATER = NOW + timedelta(days=90)


def issue() -> str:
    return TOKENS.issue(CLAIMS, NOW, LATER)[0]


GOOD: dict[str, Any] = jwt.decode(issue(), options={"verify_signature": False})


def forge(*, key: bytes = KEY, algorithm: str = "HS256", typ: str = "at+jwt", header: Any = None, **claims: Any) -> str:
    payload = {name: value for name, value in (GOOD | claims).items() if value is not None}
    return jwt.encode(payload, key, algorithm, headers={"typ": typ, "kid": KID} | (header or {}))


def raw(header: dict[str, Any], payload: dict[str, Any], signature: str = "") -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, payload)]
    return ".".join([*parts, signature])


def test_a_token_names_its_account_and_session() -> None:
    assert TOKENS.read(issue(), NOW) == CLAIMS


def test_a_token_contains_neither_role_nor_email() -> None:
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
        issue()[:-2] + "AA",
        TOKENS.issue(CLAIMS, NOW - timedelta(days=8), LATER)[0],
        jwt.encode(GOOD, KEY, "HS256", headers={"typ": "at+jwt"}),  # without a key id
        forge(header={"kid": "0" * 16}),
        forge(header={"kid": "0" * 16}, key=bytes(32)),
        forge(header={"kid": "", "jwk": {"kty": "oct", "k": "AAAA"}}, key=bytes(32)),
        forge(header={"kid": "../../dev/null"}, key=bytes(32)),
    ],
)
def test_a_forged_token_is_refused(token: str) -> None:
    with pytest.raises(NotSignedIn):
        TOKENS.read(token, NOW)


def test_a_token_expires_with_its_session_at_the_latest() -> None:
    token, seconds = TOKENS.issue(CLAIMS, NOW, NOW + timedelta(minutes=5))

    assert seconds == 300
    assert TOKENS.read(token, NOW + timedelta(minutes=4)) == CLAIMS
    with pytest.raises(NotSignedIn):
        TOKENS.read(token, NOW + timedelta(minutes=5))


def test_a_key_can_be_replaced_while_its_tokens_are_still_accepted() -> None:
    """The new key signs; a token of a key that is not configured is refused."""
    old = issue()
    both = AccessTokens(["the new key, which is long enough too", SECRET], "HS256", timedelta(days=7))
    new = both.issue(CLAIMS, NOW, LATER)[0]

    assert both.read(old, NOW) == both.read(new, NOW) == CLAIMS
    with pytest.raises(NotSignedIn):
        TOKENS.read(new, NOW)
