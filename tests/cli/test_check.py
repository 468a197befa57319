"""The help of every command; `mambo check` prints the settings without secrets and reports what is missing."""

import asyncio
import re
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from mambo.settings import SettingsError, load_settings
from support.processes import PRODUCTION, files_in, mambo

COMMAND: click.Group = entry_points(group="console_scripts")["mambo"].load()
SECRETS = {
    "SECRET_KEY": "k3y-vJ3rXo0kq8ZbW5uTgN1mYhPd7LsEaC4i",
    "MUX_TOKEN_ID": "mux-id-81",
    "MUX_TOKEN_SECRET": "mux-secret-82",
    "MUX_WEBHOOK_SECRET": "mux-webhook-83",
    "AWS_ACCESS_KEY_ID": "aws-id-84",
    "AWS_SECRET_ACCESS_KEY": "aws-secret-85",
}
R2 = {
    "AWS_ENDPOINT_URL": "https://r2.example",
    "AWS_BUCKET_NAME": "pictures",
    "R2_PUBLIC_DOMAIN": "https://cdn.example",
}
EVERYTHING = PRODUCTION | SECRETS | R2


def commands(group: click.Group, *names: str) -> list[tuple[str, ...]]:
    """Return the words of every command and group below `group`."""
    found = []
    for name, command in group.commands.items():
        words = (*names, name)
        found += [words, *(commands(command, *words) if isinstance(command, click.Group) else [])]
    return found


# Help


async def test_the_help_names_every_command(tmp_path: Path) -> None:
    end = await mambo("--help", folder=tmp_path)

    assert (end.code, end.err) == (0, "")
    for name in COMMAND.commands:
        assert re.search(rf"^  {name} +\S", end.out, re.MULTILINE)


@pytest.mark.parametrize("words", commands(COMMAND), ids=" ".join)
async def test_each_command_has_a_help_text(words: tuple[str, ...], tmp_path: Path) -> None:
    end = await mambo(*words, "--help", folder=tmp_path)

    assert end.code == 0
    assert re.match(rf"Usage: \S+ {' '.join(words)} .*\n\n  [A-Z`].*\.\n", end.out, re.DOTALL)


# Check


@pytest.mark.parametrize("environment", ["development", "production"])
async def test_check_shows_no_secret(environment: str, tmp_path: Path) -> None:
    """Neither keys nor the credentials of Mux, R2 and the database, whether or not the settings are valid."""
    end = await mambo("check", folder=tmp_path, environ=EVERYTHING | {"MAMBO_ENV": environment})

    shown = [name for name, secret in SECRETS.items() if secret in end.out + end.err]
    assert (shown, "horse-staple" in end.out + end.err) == ([], False)
    assert "pictures" in end.out + end.err


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("DATABASE_URL", "postgresql://mambo:horse-staple@db.example:5432/mambo"),
        ("DATABASE_URL", "postgresql://mambo:p%40horse-staple@db.example/mambo?ssl=require"),
        ("DATABASE_URL", "postgresql://mambo:p@horse-staple@db.example/mambo"),
        ("DATABASE_URL", "postgresql://mambo:p/horse-staple@db.example/mambo"),
        ("DATABASE_URL", "postgresql://db.example/mambo?user=mambo&password=horse-staple"),
        ("REDIS_URL", "redis://:horse-staple@cache.example:6379/0"),
        ("REDIS_URL", "rediss://mambo:horse-staple@cache.example"),
        ("REDIS_URL", "redis://:p/horse-staple@cache.example"),
        ("REDIS_URL", "redis://:p@horse-staple@cache.example"),
        ("REDIS_URL", "redis://cache.example?password=horse-staple"),
    ],
)
async def test_check_shows_no_password_of_a_url(variable: str, url: str, tmp_path: Path) -> None:
    end = await mambo("check", folder=tmp_path, environ={variable: url})

    assert variable in end.out + end.err
    assert "horse-staple" not in end.out + end.err


async def test_check_succeeds_when_production_can_start(tmp_path: Path) -> None:
    end = await mambo("check", folder=tmp_path, environ=EVERYTHING)

    assert (end.code, end.err) == (0, "")
    assert "Nothing is missing." in end.out


PROBLEMS = {
    "DATABASE_URL": {"DATABASE_URL": ""},
    "no SECRET_KEY": {"SECRET_KEY": ""},
    "SECRET_KEY": {"SECRET_KEY": "Qm7vTz1xRk"},
    "CORS_ORIGINS": {"CORS_ORIGINS": "*"},
    "not every CORS_ORIGINS": {"CORS_ORIGINS": "https://app.mambo.example,https://*.wild.example"},
    "MUX_WEBHOOK_SECRET": {"MUX_WEBHOOK_SECRET": ""},
    "AWS_BUCKET_NAME": {"AWS_BUCKET_NAME": ""},
}


@pytest.mark.parametrize("problem", PROBLEMS)
async def test_check_fails_when_production_would_not_start(problem: str, tmp_path: Path) -> None:
    """It exits with 1, and prints one line on stderr that has the name of the variable and not its value."""
    end = await mambo("check", folder=tmp_path, environ=EVERYTHING | PROBLEMS[problem])

    [line] = end.err.splitlines()
    assert end.code == 1
    assert problem.rsplit(" ", maxsplit=1)[-1] in line
    assert not [value for value in ("Qm7vTz1xRk", "wild.example") if value in end.err]


async def test_check_reports_all_problems_together(tmp_path: Path) -> None:
    environ = EVERYTHING | {name: value for problem in PROBLEMS.values() for name, value in problem.items()}

    end = await mambo("check", folder=tmp_path, environ=environ)

    assert end.code == 1
    assert [name for name in PROBLEMS if name.rsplit(" ", maxsplit=1)[-1] not in end.err] == []


@pytest.mark.parametrize("problem", ["MUX_WEBHOOK_SECRET", "AWS_BUCKET_NAME"])
async def test_check_fails_in_development_with_incomplete_credentials(problem: str, tmp_path: Path) -> None:
    """`mambo serve` would not start either, because it could not decide between the vendor and a stand-in."""
    end = await mambo("check", folder=tmp_path, environ=EVERYTHING | PROBLEMS[problem] | {"MAMBO_ENV": "development"})

    [line] = end.err.splitlines()
    assert end.code == 1
    assert problem in line


@pytest.mark.parametrize("problem", ["CORS_ORIGINS", "SECRET_KEY"])
async def test_check_warns_in_development_and_succeeds(problem: str, tmp_path: Path) -> None:
    end = await mambo("check", folder=tmp_path, environ=EVERYTHING | PROBLEMS[problem] | {"MAMBO_ENV": "development"})

    assert end.code == 0
    assert problem in end.err


async def test_check_in_development_needs_no_setting_and_creates_no_file(tmp_path: Path) -> None:
    end = await mambo("check", folder=tmp_path)

    assert (end.code, end.err) == (0, "")
    assert files_in(tmp_path) == []


async def test_check_in_development_names_the_stand_ins(tmp_path: Path) -> None:
    mux = {name: secret for name, secret in SECRETS.items() if name.startswith("MUX_")}

    without, with_mux, production = await asyncio.gather(
        mambo("check", folder=tmp_path),
        mambo("check", folder=tmp_path, environ=mux),
        mambo("check", folder=tmp_path, environ=PRODUCTION),
    )

    assert re.search(r"^Mux is not configured: `mambo serve` starts an emulator .*\.$", without.out, re.MULTILINE)
    assert re.search(r"^R2 is not configured: `mambo serve` starts a local .*\.$", without.out, re.MULTILINE)
    assert "Mux is not configured" not in with_mux.out
    assert "R2 is not configured" in with_mux.out
    assert "`mambo serve` starts" not in production.out


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MAMBO_ENV", "prodution"),
        ("JWT_EXPIRATION_DAYS", "abc"),
        ("JWT_ALGORITHM", "none"),
        ("DATABASE_URL", "x:1"),
        ("MUX_PLAYBACK_POLICY", "drm"),
    ],
)
async def test_check_fails_with_an_invalid_value(variable: str, value: str, tmp_path: Path) -> None:
    """It prints one sentence that names the variable."""
    end = await mambo("check", folder=tmp_path, environ=EVERYTHING | {"MAMBO_ENV": "development"} | {variable: value})

    assert end.code == 1
    assert re.fullmatch(rf"Error: {variable} [^\n]*\.\n", end.err)


ADDRESSES = {
    "AWS_ENDPOINT_URL": [
        ["https://acc.r2.cloudflarestorage.com", "http://storage.localhost:9000", "http://[::1]:9000/s3"],
        ["r2.example", "storage:9000", "ftp://r2.example", "https://", "https://r2.example/pictures/", "http://a_b:9"],
    ],
    "R2_PUBLIC_DOMAIN": [
        ["cdn.example", "cdn.example/pictures", "http://localhost:9001", "https://pub-1.r2.dev/"],
        ["https://", "ftp://cdn.example", "cdn example", "https://me:pw@cdn.example", "https://cdn.example?v=1"],
    ],
    "MUX_API_URL": [
        ["https://api.mux.com", "http://127.0.0.1:8001", "https://api.mux.com/"],
        ["api.mux.com", "https:/api.mux.com", "https://api.mux.com:0", "https://api.mux.com#x", "http://[::1"],
    ],
}


@pytest.mark.parametrize("variable", ADDRESSES)
async def test_settings_accept_valid_urls_and_refuse_others(variable: str) -> None:
    """The sentence is the same for all values. http is allowed, for storages in a local network."""
    valid, invalid = ADDRESSES[variable]

    accepted = [error_of(EVERYTHING | {variable: address}) for address in valid]
    [sentence] = {error_of(EVERYTHING | {variable: address}) for address in invalid}

    assert set(accepted) == {None}
    assert re.fullmatch(rf"{variable} must be [^\n]*\.", sentence or "")


def error_of(environ: dict[str, str]) -> str | None:
    """Return the error of the settings, or None."""
    try:
        load_settings(environ)
    except SettingsError as error:
        return str(error)
    return None


async def test_production_sends_the_token_of_mux_over_tls_only() -> None:
    """Or over loopback."""
    with pytest.raises(SettingsError, match=r"^MUX_API_URL must be https: [^.]*\.$"):
        load_settings(EVERYTHING | {"MUX_API_URL": "http://mux.example:8001"})


async def test_the_environment_precedes_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "JWT_EXPIRATION_DAYS=3\nJWT_ALGORITHM=HS512\nCORS_ORIGINS='*'\nAWS_BUCKET_NAME=pictures\n"
    )

    end = await mambo("check", folder=tmp_path, environ={"JWT_EXPIRATION_DAYS": "5", "AWS_BUCKET_NAME": ""})

    shown = dict(line.split(maxsplit=1) for line in end.out.splitlines() if re.match(r"[A-Z][A-Z0-9_]+ ", line))
    assert end.code == 0
    assert (shown["JWT_EXPIRATION_DAYS"], shown["JWT_ALGORITHM"]) == ("5", "HS512")
    assert shown["AWS_BUCKET_NAME"] == "-"
    assert "CORS_ORIGINS" in end.err


async def test_the_variable_of_an_option_is_read_from_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAMBO_DATA_DIR=elsewhere\n")

    end = await mambo("check", folder=tmp_path)

    assert "embedded PostgreSQL in elsewhere" in end.out
