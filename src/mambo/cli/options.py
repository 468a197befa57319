"""Options that several commands have."""

from pathlib import Path

import click

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".mambo"),
    show_default=True,
    envvar="MAMBO_DATA_DIR",
    help="Where the embedded services keep their data.",
)
