"""Folders and buckets: create-only, whole, listed in order, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mien.distributed import object_store
from mien.distributed.listing import list_keys
from mien.distributed.object_store import ObjectStore
from mien.distributed.stores import FolderStore, Store, open_store, split_url
from mien.errors import MediaError, MienError, OutputError, StoreError

S3 = Callable[[str], str]


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return FolderStore(tmp_path / "out")
    return ObjectStore(f"{request.getfixturevalue('s3')('stores')}/{tmp_path.name}")


def test_a_name_is_written_once(store: Store):
    assert store.create("rows/a.parquet", b"first")
    assert not store.create("rows/a.parquet", b"second")
    assert store.read("rows/a.parquet") == b"first"
    assert store.create("rows/b.parquet", b"")
    assert store.create("other", b"x")
    assert sorted(store.names("rows")) == ["a.parquet", "b.parquet"]
    assert list(store.names("nowhere")) == []
    store.delete("rows/a.parquet")
    store.delete("rows/a.parquet")
    assert list(store.names("rows")) == ["b.parquet"]


def test_what_is_not_there_or_too_large_is_refused(store: Store):
    with pytest.raises(FileNotFoundError):
        store.read("nothing.jpg")
    store.create("large.jpg", b"x" * 1000)
    with pytest.raises(MediaError, match=r"1,000 bytes are more than the limit of 999"):
        store.read("large.jpg", max_bytes=999)


def test_a_folder_that_cannot_be_written_to_says_so(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        FolderStore(tmp_path / "file").create("a/b", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_addresses():
    assert split_url("s3://bucket/a b/c#1.jpg") == ("s3://bucket", "a b/c#1.jpg")
    assert split_url("gs://bucket") == ("gs://bucket", "")
    with pytest.raises(MienError, match="ftp://x: expected a folder, or an address with s3://"):
        open_store("ftp://x")


def test_a_listing_in_ranges_has_every_key_once_and_in_order(s3: S3, monkeypatch: pytest.MonkeyPatch):
    # Ranges are cut where a first page is full; a small page has the test make few objects.
    monkeypatch.setattr(object_store, "PAGE", 5)
    monkeypatch.setattr("mien.distributed.listing.PAGE", 5)
    root = s3("ranges")
    store = ObjectStore(root)
    names = {f"IMG_{number}{letter}.jpg" for number in range(12) for letter in ("", "a", "Z", "ü")}
    for name in names:
        store.create(name, b"x")
    pages = list(list_keys(store))
    found = [name for page in pages for name, _ in page]
    assert found == sorted(names)
    assert {size for page in pages for _, size in page} == {1}
    assert found == [name for page in list_keys(store, parallel=False) for name, _ in page]


def test_a_bucket_that_is_not_there_and_a_key_that_cannot_be_asked_for(s3: S3):
    s3("there")
    with pytest.raises(StoreError, match="no such bucket"):
        list(ObjectStore("s3://not-there").pages())
    with pytest.raises(MediaError, match="rename the object"):
        ObjectStore("s3://there").read("new\nline.jpg")


def test_missing_credentials_name_the_variables(s3: S3, monkeypatch: pytest.MonkeyPatch):
    s3("private")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    # What asks a cloud's machine for credentials gets no answer here, at once.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(object_store, "REQUEST_RETRIES", 0)
    with pytest.raises(StoreError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        list(ObjectStore("s3://private").pages())
