"""The same registry in a real PostgreSQL, started here on loopback; skipped where its programs are not installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mien.errors import RegistryError
from mien.model.bundle import Bundle
from mien.registry import Registry, Version, open_registry, parse_reference

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'mien[postgres]'")
MakeBundle = Callable[..., Bundle]


def program(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@dataclass
class Postgres:
    """A PostgreSQL of the tests' own."""

    folder: Path
    port: int
    user: str | None

    @property
    def url(self) -> str:
        return f"postgresql://mien@127.0.0.1:{self.port}/postgres"

    def control(self, *arguments: str) -> None:
        command = [str(program("pg_ctl")), "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log")]
        subprocess.run([*command, *arguments], check=True, capture_output=True, user=self.user, timeout=60)

    def start(self) -> None:
        self.control("start", "-o", f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c fsync=off")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    if not (program("initdb") and program("pg_ctl")):
        pytest.skip("PostgreSQL is not installed")
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("there is no user postgres to run PostgreSQL as")
    folder = Path(tempfile.mkdtemp())
    if user:
        shutil.chown(folder, user)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Postgres(folder, port, user)
    setup = [str(program("initdb")), "-D", str(folder / "data"), "-U", "mien", "-A", "trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(setup, check=True, capture_output=True, user=user, timeout=120)
    server.start()
    yield server
    server.control("stop", "-m", "immediate")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def shared(postgres: Postgres, tmp_path: Path) -> Iterator[Registry]:
    registry = open_registry(postgres.url, tmp_path / "files")
    yield registry
    registry.close()


def test_the_whole_life_of_a_version(shared: Registry, make_bundle: MakeBundle):
    first, second = (shared.add(make_bundle(str(number)), "life")[0] for number in (1, 2))
    assert (first.number, second.number) == (1, 2)
    assert shared.add(make_bundle("1"), "life")[1] is False
    shared.promote(first, expected=None, why="the first", checks={"seal": "whole"})
    shared.promote(second, expected=1)
    assert shared.rollback("life").to_version == 1
    assert shared.version(parse_reference("life")).number == 1
    assert [event.kind for event in shared.history("life")] == ["rollback", "promote", "promote", "add", "add"]
    assert shared.history("life")[2].checks == {"seal": "whole"}
    assert shared.bundle(first).sealed


def test_of_two_that_act_at_once_one_is_told(
    shared: Registry, postgres: Postgres, make_bundle: MakeBundle, tmp_path: Path
):
    bundles = [make_bundle(str(number)) for number in range(3)]
    barrier, outcomes = threading.Barrier(3), list[str]()

    def act(bundle: Bundle) -> None:
        other = open_registry(postgres.url, tmp_path / "files")  # as another process would
        version: Version = other.add(bundle, "race")[0]
        barrier.wait(30)
        try:
            outcomes.append(other.promote(version, expected=None).kind)
        except RegistryError as error:
            outcomes.append(str(error))
        other.close()

    threads = [threading.Thread(target=act, args=(bundle,)) for bundle in bundles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(version.number for version in shared.versions("race")) == [1, 2, 3]
    assert outcomes.count("promote") == 1
    told = [outcome for outcome in outcomes if outcome != "promote"]
    assert all("another process" in outcome for outcome in told)


def test_a_database_that_is_gone_is_told_and_comes_back(shared: Registry, postgres: Postgres, make_bundle: MakeBundle):
    version, _ = shared.add(make_bundle(), "gone")
    postgres.control("stop", "-m", "immediate")
    with pytest.raises(RegistryError, match="does not answer") as told:
        shared.aliases("gone")
    assert "mien@127.0.0.1" in str(told.value)
    postgres.start()
    shared.promote(version, expected=None)
    assert shared.aliases("gone")["production"].version == 1


def test_an_address_that_is_none_is_told():
    for wrong in ("mysql://a/b", "http://example.org"):
        with pytest.raises(RegistryError, match="expected a folder or postgresql://"):
            open_registry(wrong)
