"""`mambo check`."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mambo.cli.options import data_dir_option

if TYPE_CHECKING:
    from mambo.settings import Settings


@click.command()
@data_dir_option
def check(data_dir: Path) -> None:
    """Print the effective settings, secrets masked, and what is missing or unsafe."""
    from mambo.cli.services import STAND_INS
    from mambo.settings import SettingsError, load_settings, read_environment
    from mambo.settings.loading import check_environment_name
    from mambo.settings.production import find_half_configured, find_not_configured, find_problems

    given = read_environment()
    is_production = given.get("MAMBO_ENV") == "production"
    placeholders = {"DATABASE_URL": "postgresql://", "SECRET_KEY": "-"}
    missing = [name for name in placeholders if name not in given]
    try:
        check_environment_name(given)
        settings = load_settings(
            {**given, "MAMBO_ENV": "development", **{name: placeholders[name] for name in missing}}
        )
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    shown = masked(settings) | {"MAMBO_ENV": given.get("MAMBO_ENV", "development"), "MAMBO_DATA_DIR": str(data_dir)}
    if not is_production:
        made = {"DATABASE_URL": f"embedded PostgreSQL in {data_dir}", "SECRET_KEY": f"random, kept in {data_dir}"}
        shown |= {name: made[name] for name in missing}
    for name, value in shown.items():
        click.echo(f"{name:<24}{'(not set)' if name in missing and is_production else value}")
    for vendor in [] if is_production else find_not_configured(given):
        click.echo(f"{vendor} is not configured: `mambo serve` starts {STAND_INS[vendor].format(folder=data_dir)}.")
    if not settings.smtp_url:
        what = "nobody can reset a forgotten password by e-mail" if is_production else f"mails go to {data_dir}/mail"
        click.echo(f"SMTP_URL is not set: {what}.")
    problems = [f"{name} is not set." for name in missing] if is_production else []
    problems += [p for p in find_problems(settings) if not any(p.startswith(name) for name in missing)]
    for problem in problems:
        click.echo(f"! {problem}", err=True)
    if not problems:
        click.echo("Nothing is missing.")
    elif is_production or find_half_configured(given):
        sys.exit(1)
    else:
        click.echo("Fine for development; production would refuse to start.", err=True)


def masked(settings: "Settings") -> dict[str, str]:
    """Return the value of each variable as text, with secrets and passwords hidden."""
    from mambo.settings.model import variables

    shown: dict[str, str] = {}
    for variable in variables():
        value = settings.allowed_origins if variable == "CORS_ORIGINS" else getattr(settings, variable.lower())
        text = "-" if value is None else ", ".join(value) if isinstance(value, tuple) else str(value)
        if value is not None and re.search(r"SECRET|KEY|TOKEN", variable):
            text = "********"
        text = re.sub(r"://.*@", "://********@", text)
        shown[variable] = re.sub(r"(password|secret|token)=[^&]*", r"\1=********", text)
    return shown | {name: str(rate) for name, rate in settings.limits.items()}
