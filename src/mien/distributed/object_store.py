"""Amazon S3, Google Cloud Storage and Azure through obstore: retried, create-only, with errors that say what to do.

obstore retries refused and broken requests by itself. It does not retry a body that is cut while it is read; that, and
a store that stays away for longer, is retried here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from importlib import import_module
from typing import Any, TypeVar

from mien.distributed.stores import BadAddress, split_url, too_large
from mien.errors import MediaError, StoreError

T = TypeVar("T")

TRIES = 5
"""Calls of obstore for one piece; each has its own retries of single requests inside."""

REQUEST_RETRIES = 6
REQUEST_TIMEOUT = "60s"
CONNECT_TIMEOUT = "5s"
RETRY_TIMEOUT = timedelta(minutes=3)

PAGE = 1000
"""Keys that a store lists in one answer."""

VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_REGION; AWS_ENDPOINT for a store that is not Amazon's)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS (the path of a service account's JSON file)",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""Where each store's credentials come from."""

# Where a cloud's machines ask for credentials. To need them there means that there are none in the environment.
_METADATA_SERVERS = ("/latest/api/token", "/latest/meta-data", "169.254.170.2", "computeMetadata", "metadata/identity")
_BAD_CREDENTIALS = (
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthenticationFailed",
)  # fmt: skip


class ObjectStore:
    """One bucket, or what lies below a prefix of it.

    Args:
        address: `s3://bucket/prefix`, or with `gs` or `az`.

    Raises:
        StoreError: obstore is not installed, or the address cannot be one.
    """

    def __init__(self, address: str) -> None:
        self._obstore = _package()
        self._errors: Any = import_module("obstore.exceptions")
        self._stamina: Any = import_module("stamina")
        logging.getLogger("stamina").addHandler(logging.NullHandler())  # a retry is no news to a user
        root, prefix = split_url(address)
        self._root, self._prefix = root, prefix.strip("/")
        self._scheme = root.split("://")[0]
        try:
            self._store = import_module("obstore.store").from_url(
                f"{root}/{self._prefix}" if self._prefix else root,
                # http:// is used only where the user names such an endpoint.
                client_options={"timeout": REQUEST_TIMEOUT, "connect_timeout": CONNECT_TIMEOUT, "allow_http": True},
                retry_config={"max_retries": REQUEST_RETRIES, "retry_timeout": RETRY_TIMEOUT},
            )
        except (self._errors.BaseError, ValueError) as error:
            raise BadAddress(f"{address}: not an address that can be opened ({_first_line(error)})") from error

    @property
    def address(self) -> str:
        """Bucket and prefix."""
        return f"{self._root}/{self._prefix}" if self._prefix else self._root

    def __reduce__(self) -> tuple[type[ObjectStore], tuple[str]]:
        return ObjectStore, (self.address,)  # every process opens its own connections

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        """See `Store.read`."""

        def get() -> bytes:
            answer = self._obstore.get(self._store, name)
            size = int(answer.meta["size"])
            if max_bytes is not None and size > max_bytes:
                raise MediaError(too_large(f"{self.address}/{name}", size, max_bytes))
            data = bytes(answer.bytes())
            if len(data) != size:
                raise ConnectionError(f"{len(data)} of {size} bytes came")
            return data

        return self._tried(get, f"{self.address}/{name}")

    def create(self, name: str, data: bytes) -> bool:
        """See `Store.create`."""

        def put() -> bool:
            try:
                self._obstore.put(self._store, name, data, mode="create")
            except self._errors.AlreadyExistsError:
                return False  # another's, or our own whose answer was lost
            return True

        return self._tried(put, f"{self.address}/{name}")

    def names(self, folder: str) -> Iterator[str]:
        """See `Store.names`."""
        for page in self.pages(f"{folder}/"):
            for name, _ in page:
                if "/" not in (short := name[len(folder) + 1 :]):
                    yield short

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        try:
            self._tried(lambda: self._obstore.delete(self._store, name), f"{self.address}/{name}")
        except FileNotFoundError:
            return

    def pages(self, folder: str = "", after: str | None = None) -> Iterator[list[tuple[str, int]]]:
        """Names below a folder and their sizes in bytes, sorted, a page at a time.

        Args:
            folder: ends in "/", or is empty.
            after: begin behind this name.

        Raises:
            StoreError: it cannot be listed; MediaError: a key has characters that cannot be asked for.
        """
        stream: Iterator[Sequence[Any]] | None = None

        def next_page() -> Sequence[Any]:
            nonlocal stream
            # A listing that broke goes on behind the last key that came.
            pages = stream or iter(
                self._obstore.list(self._store, prefix=folder or None, offset=after, chunk_size=PAGE)
            )
            stream = None
            page = next(pages, ())
            stream = pages
            return page

        while page := self._tried(next_page, self.address):
            yield [(each["path"], each["size"]) for each in page]
            after = str(page[-1]["path"])

    def _tried(self, call: Callable[[], T], what: str) -> T:
        try:
            for attempt in self._stamina.retry_context(
                on=self._may_pass, attempts=TRIES, timeout=None, wait_initial=0.2, wait_max=20
            ):
                with attempt:
                    return call()
        except (self._errors.BaseError, FileNotFoundError, ConnectionError, ValueError) as error:
            raise self._explained(error, what) from error
        raise AssertionError("either returned or raised")

    def _may_pass(self, error: Exception) -> bool:
        """Whether the same request may succeed later."""
        if isinstance(error, ConnectionError):
            return True
        return isinstance(error, self._errors.GenericError) and not _is_lasting(str(error))

    def _explained(self, error: Exception, what: str) -> Exception:
        text, errors = str(error), self._errors
        if isinstance(error, errors.InvalidPathError) or (isinstance(error, ValueError) and "path" in text):
            return MediaError(
                f"{what}: a key that cannot be asked for ({_first_line(error)}); rename the object, or name the keys "
                "that are wanted in a .parquet or .csv file"
            )
        if "NoSuchBucket" in text or "ContainerNotFound" in text:
            return BadAddress(f"{what}: there is no such bucket; check its name, and the region")
        credentials = any(word in text for word in (*_METADATA_SERVERS, *_BAD_CREDENTIALS))
        if isinstance(error, errors.UnauthenticatedError) or credentials:
            return StoreError(
                f"{what}: no valid credentials for {self._root}; set {VARIABLES[self._scheme]} ({_first_line(error)})"
            )
        if isinstance(error, errors.PermissionDeniedError):
            return MediaError(f"{what}: access was denied ({_first_line(error)})")
        if isinstance(error, (errors.NotFoundError, FileNotFoundError)):
            return FileNotFoundError(what)
        return StoreError(f"{what}: the store does not answer as it should ({_first_line(error)})")


def _is_lasting(text: str) -> bool:
    lasting = ("NoSuchBucket", "ContainerNotFound", "builder error", *_METADATA_SERVERS, *_BAD_CREDENTIALS)
    return any(word in text for word in lasting)


def _package() -> Any:
    try:
        return import_module("obstore")
    except ImportError:
        raise StoreError("object stores need obstore: pip install 'mien[stores]'") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
