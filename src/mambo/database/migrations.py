"""Alembic's configuration."""

from pathlib import Path

from alembic.config import Config


def alembic_config(url: str) -> Config:
    """Return Alembic's configuration; the migrations are in the installed package, or beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    folder = next(path for path in (package / "migrations", package.parents[1] / "migrations") if path.is_dir())
    config = Config(folder / "alembic.ini")
    config.set_main_option("script_location", str(folder))
    config.attributes["url"] = url
    return config
