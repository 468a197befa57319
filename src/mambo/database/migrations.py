"""Alembic's configuration."""

from pathlib import Path

from alembic.config import Config


def alembic_config(url: str) -> Config:
    """Alembic's configuration for our migrations, which lie in the package once installed and beside `src` before."""
    package = Path(__file__).parents[1]
    folder = next(path for path in (package / "migrations", package.parents[1] / "migrations") if path.is_dir())
    config = Config(folder / "alembic.ini")
    config.set_main_option("script_location", str(folder))
    config.attributes["url"] = url
    return config
