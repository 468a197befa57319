"""The table of rate limits, and the settings that change it."""

import pytest

from mambo.cli.check import masked
from mambo.limits.rules import RULES, Per, Rate, in_words, rates
from mambo.settings import SettingsError, load_settings

REQUIRED = {"DATABASE_URL": "postgresql://", "SECRET_KEY": "-"}


def test_the_table_has_the_documented_limits() -> None:
    table = {rule.setting: (str(rule.default), rule.per) for rule in RULES}

    assert table == {
        "LIMIT_SIGN_IN_ADDRESS": ("30/5min", Per.ADDRESS),
        "LIMIT_SIGN_IN_ACCOUNT": ("10/5min", Per.ACCOUNT),
        "LIMIT_SIGN_IN_ALL": ("1000/5min", Per.ALL),
        "LIMIT_REGISTER": ("60/hour", Per.ADDRESS),
        "LIMIT_REFRESH": ("30/min", Per.SESSION),
        "LIMIT_PASSWORD": ("10/5min", Per.USER),
        "LIMIT_FORGOT_ADDRESS": ("30/hour", Per.ADDRESS),
        "LIMIT_FORGOT_ACCOUNT": ("5/day", Per.ACCOUNT),
        "LIMIT_VERIFY_ACCOUNT": ("5/day", Per.ACCOUNT),
        "LIMIT_PRESIGN": ("20/hour", Per.USER),
        "LIMIT_VIDEO_UPLOAD": ("200/hour", Per.USER),
        "LIMIT_COMMENT": ("20/min", Per.USER),
        "LIMIT_QUIZ": ("10/hour", Per.USER),
        "LIMIT_SUBMISSION_UPLOAD": ("10/day", Per.USER),
    }
    assert all(rule.reason.endswith(".") for rule in RULES)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("60/hour", Rate(60, 3600)),
        ("10/5min", Rate(10, 300)),
        (" 1 / 30 s ", Rate(1, 30)),
        ("5/day", Rate(5, 86_400)),
        ("7/90min", Rate(7, 5400)),
    ],
)
def test_a_rate_is_parsed_and_formatted(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
    assert str(rate) == text.replace(" ", "")


def test_a_setting_changes_its_limit_only() -> None:
    settings = load_settings(REQUIRED | {"LIMIT_REGISTER": "5/min"})

    changed = {name for name, rate in settings.limits.items() if rate != rates({})[name]}
    assert changed == {"LIMIT_REGISTER"}
    assert settings.limits["LIMIT_REGISTER"] == Rate(5, 60)
    assert masked(settings)["LIMIT_REGISTER"] == "5/min"
    assert masked(settings)["LIMIT_PRESIGN"] == "20/hour"


@pytest.mark.parametrize("text", ["", "60", "60/", "/hour", "0/hour", "-1/hour", "60/0min", "60/fortnight", "1/31day"])
def test_an_invalid_rate_is_an_error_that_names_the_setting(text: str) -> None:
    with pytest.raises(
        SettingsError, match=r"LIMIT_REGISTER must be a number and a time .* as in 60/hour or 10/5min\."
    ):
        load_settings(REQUIRED | {"LIMIT_REGISTER": text})


def test_an_unknown_limit_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"LIMIT_REGSITER is not a limit: there are .*LIMIT_REGISTER"):
        load_settings(REQUIRED | {"LIMIT_REGSITER": "5/min"})


@pytest.mark.parametrize("url", ["localhost:6379", "http://127.0.0.1:6379", "redis://127.0.0.1:none"])
def test_an_invalid_redis_url_is_an_error(url: str) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL must be a Redis URL"):
        load_settings(REQUIRED | {"REDIS_URL": url})


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (90, "90 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (121, "3 minutes"),
        (7200, "2 hours"),
        (86_400, "24 hours"),
        (172_801, "3 days"),
    ],
)
def test_a_wait_in_words_is_rounded_up(seconds: int, words: str) -> None:
    assert in_words(seconds) == words
