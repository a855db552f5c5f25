"""The registry's index: four tables in SQLite, or in PostgreSQL by URL, with the same statements."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from mien.errors import RegistryError, Remedy

SCHEMA_VERSION = 1
BUSY_S = 5.0
"""How long a process waits for another one's transaction."""

_metadata = sa.MetaData()

versions = sa.Table(
    "mien_versions",
    _metadata,
    sa.Column("model", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("classes", sa.JSON, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("created", sa.String(32), nullable=False),
    sa.Column("added_by", sa.String(128), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.UniqueConstraint("model", "sha256"),
)

aliases = sa.Table(
    "mien_aliases",
    _metadata,
    sa.Column("model", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("share", sa.Float),
    sa.ForeignKeyConstraint(["model", "version"], [versions.c.model, versions.c.number]),
)

events = sa.Table(
    "mien_events",
    _metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.String(32), nullable=False),
    sa.Column("who", sa.String(128), nullable=False),
    sa.Column("model", sa.String(64), nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("alias", sa.String(64), nullable=False),
    sa.Column("from_version", sa.Integer),
    sa.Column("to_version", sa.Integer),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("checks", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)

schema = sa.Table("mien_schema", _metadata, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))


class Conflict(RegistryError):
    """Another process wrote the same row first."""


class Database:
    """Transactions on the index. Safe to share between threads.

    Args:
        url: SQLAlchemy's URL, of SQLite or PostgreSQL.

    Raises:
        RegistryError: the database cannot be opened, or holds a registry of a later mien.
    """

    def __init__(self, url: sa.URL) -> None:
        self.name = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
        self._engine = _make_engine(url)
        found = self._schema()
        if found > SCHEMA_VERSION:
            raise RegistryError(
                f"{self.name}: a registry of schema {found}, made by a later mien; this one knows {SCHEMA_VERSION}; "
                "update mien"
            )

    def _schema(self) -> int:
        with self.read() as connection:
            if sa.inspect(connection).has_table(schema.name):
                return int(connection.execute(sa.select(schema.c.version)).scalar_one())
        with self.write() as connection:
            # Two processes may make a registry at once, and PostgreSQL does not let CREATE TABLE wait for the other.
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(7233001)"))
            _metadata.create_all(connection)
            if connection.execute(sa.select(schema.c.version)).scalar() is None:
                connection.execute(schema.insert().values(version=SCHEMA_VERSION))
        return SCHEMA_VERSION

    @contextmanager
    def read(self) -> Generator[sa.Connection]:
        """A transaction that only reads; it does not wait for writers."""
        with self._told(), self._engine.connect().execution_options(mien_reads=True) as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[sa.Connection]:
        """A transaction that writes; it is undone if the block raises."""
        with self._told(), self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except IntegrityError as error:
            raise Conflict(
                f"{self.name}: another process changed the registry at the same moment; try again"
            ) from error
        except SQLAlchemyError as error:
            raise self._error(error) from error

    def _error(self, error: SQLAlchemyError) -> RegistryError:
        lines = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
        if "database is locked" in lines[0]:
            return RegistryError(f"{self.name}: locked by another process for {BUSY_S:g} s; try again")
        if "unable to open database" in lines[0] or "readonly" in lines[0]:
            return RegistryError(
                f"{self.name}: the registry cannot be opened or written to ({lines[0]}); name another", Remedy.REGISTRY
            )
        return RegistryError(f"{self.name}: the registry's database does not answer ({lines[0]})")


def sqlite_url(path: Path) -> sa.URL:
    """The URL of a database file."""
    return sa.URL.create("sqlite", database=str(path))


def postgres_url(text: str) -> sa.URL:
    """The URL of a PostgreSQL database, for the driver psycopg.

    Raises:
        RegistryError: not such a URL.
    """
    try:
        return sa.make_url(text).set(drivername="postgresql+psycopg")
    except SQLAlchemyError:
        raise RegistryError("expected postgresql://USER@HOST/DATABASE as the registry, found another form") from None


def _make_engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        try:
            # pool_pre_ping: connections that died with the server are replaced without a failed request.
            return sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": int(BUSY_S)})
        except ImportError:
            raise RegistryError(
                "a registry in PostgreSQL needs the driver psycopg: pip install 'mien[postgres]'"
            ) from None
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_S})

    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver begins no transaction by itself; `begin` below does
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: sa.Connection) -> None:
        # IMMEDIATE: two writers queue up at the start, instead of one failing half way.
        reads = connection.get_execution_options().get("mien_reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine
