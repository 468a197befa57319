"""`mambo serve`."""

from contextlib import ExitStack
from pathlib import Path

import click

from mambo.cli.options import data_dir_option


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Worker processes.")
@click.option("--reload", is_flag=True, help="Restart when the source changes (one worker).")
@click.option("--no-demo", is_flag=True, help="Do not load the demo courses.")
@data_dir_option
def serve(host: str, port: int, workers: int, reload: bool, no_demo: bool, data_dir: Path) -> None:  # noqa: FBT001
    """Serve the API; without DATABASE_URL, on an embedded PostgreSQL; without MUX_* and AWS_*, with stand-ins for both.

    It migrates the database first. In development it also creates a local admin, whose password it prints and keeps
    in DATA_DIR/admin.json, and loads two demo courses, once. Ctrl-C stops everything.
    """
    if reload and workers > 1:
        raise click.UsageError("--reload runs one worker: leave out --workers.")
    from mambo.cli import server, services

    with ExitStack() as stack:
        stack.enter_context(server.stopped_by_signals())
        listener = stack.enter_context(server.listen(host, port))
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        settings = stack.enter_context(services.prepared_environment(data_dir, address))
        click.echo("Migrating the database")
        services.upgrade(settings.database_url)
        admin = None
        if not settings.is_production:
            from mambo.devkit import demo

            admin = demo.prepare(settings.database_url, data_dir, with_demo=not no_demo)
        click.echo(f"Mambo {address}   API documentation {address}/docs")
        if admin:
            click.echo(f"Admin {admin.email}   password {admin.password}   (kept in {data_dir / 'admin.json'})")
        server.announce_ready(address)
        server.run(listener, workers=workers, reload=reload)
