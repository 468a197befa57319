"""The settings of e-mails: the server, the sender, and the address of the web client."""

import pytest

from mambo.cli.check import masked
from mambo.settings import SettingsError, load_settings
from mambo.settings.smtp import SmtpServer, read_smtp_url

SCHOOL = {"SMTP_URL": "smtp://mambo:pa55@smtp.example.com", "MAIL_FROM": "Mambo <school@example.com>"}
DEVELOPMENT = {"DATABASE_URL": "postgresql://localhost/mambo", "SECRET_KEY": "k"}
PRODUCTION = {
    "DATABASE_URL": "postgresql://localhost/mambo",
    "SECRET_KEY": "0f8KZbq1Jx7vYw3TnRcLs9dHgUeAiPmO2",
    "MAMBO_ENV": "production",
}


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://localhost", SmtpServer("localhost", 25, None, None, is_tls_from_start=False, starttls=None)),
        ("smtp://10.0.0.7:1025", SmtpServer("10.0.0.7", 1025, None, None, is_tls_from_start=False, starttls=None)),
        ("smtp://a:b@mail.example", SmtpServer("mail.example", 587, "a", "b", is_tls_from_start=False, starttls=True)),
        (
            "smtps://a:b@mail.example/",
            SmtpServer("mail.example", 465, "a", "b", is_tls_from_start=True, starttls=False),
        ),
        (
            "smtp://ana%40x.example:p%2Fw%3A@mail.example:2525?starttls=never",
            SmtpServer("mail.example", 2525, "ana@x.example", "p/w:", is_tls_from_start=False, starttls=False),
        ),
        (
            "smtp://a:b@mail.example?starttls=if_offered",
            SmtpServer("mail.example", 587, "a", "b", is_tls_from_start=False, starttls=None),
        ),
    ],
)
def test_an_smtp_url_is_parsed(url: str, server: SmtpServer) -> None:
    """With a username TLS is required, unless the URL says otherwise."""
    assert read_smtp_url(url) == server


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMTP_URL", "smtp.example.com"),
        ("SMTP_URL", "https://smtp.example.com"),
        ("SMTP_URL", "smtp://"),
        ("SMTP_URL", "smtp://host:port"),
        ("SMTP_URL", "smtp://host:0"),
        ("SMTP_URL", "smtp://mambo:half/of-a-secret@host"),
        ("SMTP_URL", "smtp://mambo:half#of-a-secret@host"),
        ("SMTP_URL", "smtp://mambo@host"),
        ("SMTP_URL", "smtp://:secret@host"),
        ("SMTP_URL", "smtp://host?starttls=perhaps"),
        ("SMTP_URL", "smtp://host?tls=yes"),
        ("SMTP_URL", "smtps://host?starttls=never"),
        ("MAIL_FROM", "Mambo"),
        ("MAIL_FROM", "Mambo <>"),
        ("MAIL_FROM", "a@example.com, b@example.com"),
        ("MAIL_FROM", "a@example.com\r\nBcc: b@example.com"),
        ("MAIL_FROM", "a@bücher.example"),
        ("WEB_URL", "app.example.com"),
        ("WEB_URL", "https://app.example.com/?page="),
        ("WEB_URL", "javascript:alert(1)"),
    ],
)
def test_the_error_of_an_invalid_value_is_a_sentence_that_names_the_variable(name: str, value: str) -> None:
    """It has no secret."""
    with pytest.raises(SettingsError, match=rf"^{name} (must|takes) .*\.$") as raised:
        load_settings(DEVELOPMENT | {name: value})

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({"WEB_URL": "https://a.example/school/"}, "https://a.example/school"),
        ({"WEB_URL": "https://a.example", "CORS_ORIGINS": "https://b.example"}, "https://a.example"),
        ({"CORS_ORIGINS": "https://b.example,https://c.example"}, "https://b.example"),
        ({"CORS_ORIGINS": "*"}, "http://localhost:3000"),
        ({}, "http://localhost:3000"),
    ],
)
def test_the_address_of_the_web_client(given: dict[str, str], address: str) -> None:
    assert load_settings(DEVELOPMENT | given).web_address == address


def test_production_starts_without_mail() -> None:
    assert load_settings(PRODUCTION).smtp_url is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"MAIL_FROM": ""}, "SMTP_URL needs MAIL_FROM"),
        ({"WEB_URL": ""}, "SMTP_URL needs WEB_URL"),
        ({"WEB_URL": "http://app.example.com"}, "must be https"),
    ],
)
def test_production_refuses_incomplete_settings_of_mail(change: dict[str, str], sentence: str) -> None:
    complete = PRODUCTION | SCHOOL | {"WEB_URL": "https://app.example.com"}
    assert load_settings(complete).sender == "Mambo <school@example.com>"

    with pytest.raises(SettingsError, match=sentence):
        load_settings({name: value for name, value in (complete | change).items() if value})


def test_the_password_is_masked() -> None:
    shown = masked(load_settings(DEVELOPMENT | SCHOOL))

    assert shown["SMTP_URL"] == "smtp://********@smtp.example.com"
