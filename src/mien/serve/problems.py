"""Why a request is not answered as asked: an error with the HTTP status that says so."""

from __future__ import annotations

from mien.errors import ServeError


class RequestProblem(ServeError):
    """A request that cannot be answered as asked; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ClientGone(ServeError):
    """The client closed the connection before its answer was ready."""


def too_late(seconds: float) -> RequestProblem:
    """The answer to a request whose time is over."""
    return RequestProblem(504, f"not answered within {seconds:g} s; the server is busy, try again later")
