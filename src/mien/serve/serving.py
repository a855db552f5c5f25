"""One version that serves: loaded, verified and warmed up before the first request sees it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from mien.errors import BundleError
from mien.model.bundle import Bundle
from mien.model.manifest import Answer, Manifest
from mien.model.prior import Prior
from mien.model.verify import Check, verify_bundle
from mien.model.verify_in_process import verify_once
from mien.pipeline import Recognizer
from mien.serve.read_options import ReadOptions
from mien.serve.reader import DetectorChoice, Reader


@dataclass(frozen=True, eq=False)
class Serving:
    """A version and its readers, one for each worker. A request takes one reference and keeps it to its end.

    Attributes:
        name, version: as answers name them; a bundle that is in no registry counts its versions from 1 on by itself.
        sha256: of the whole file.
        manifest: what the bundle says about itself.
        answer: which of the model's answers is given.
        prior: the mix of classes that it expects.
    """

    name: str
    version: int
    sha256: str
    manifest: Manifest
    answer: Answer
    prior: Prior
    _readers: deque[Reader]

    @contextmanager
    def reader(self) -> Generator[Reader]:
        """A reader for this thread alone; there are as many as workers, so nobody waits."""
        reader = self._readers.pop()
        try:
            yield reader
        finally:
            self._readers.append(reader)

    def about(self) -> dict[str, object]:
        """How answers name the version."""
        return {
            "name": self.name,
            "version": self.version,
            "sha256": self.sha256,
            "classes": list(self.answer.classes),
            "answer": self.answer.name or None,
            "prior": str(self.prior),
        }

    def filled(self, wish: ReadOptions) -> ReadOptions:
        """The wish with this server's answer and prior where the request names none.

        Raises:
            BundleError: there is no such answer, or its prior is not known.
            DatasetError: the prior does not go with the answer's classes.
        """
        filled = replace(wish, answer=wish.answer or self.answer.name or None, prior=wish.prior or self.prior)
        (filled.prior or self.prior).shift(self.manifest.answer(filled.answer), self.manifest.name)
        return filled

    def answers(self) -> list[dict[str, object]]:
        """What a request may choose between, the default first."""
        others = (answer for answer in self.manifest.all_answers if answer != self.answer)
        return [
            {
                "name": answer.name or None,
                "meaning": answer.meaning,
                "classes": list(answer.classes),
                "has_prior": bool(answer.prior),
            }
            for answer in (self.answer, *others)
        ]


def load_serving(
    bundle: Bundle, name: str, version: int, *, workers: int, detector: DetectorChoice, max_pixels: int,
    answer: str | None = None, prior: Prior | None = None,
) -> Serving:  # fmt: skip
    """Verify a bundle, replay its golden vectors, open its sessions, and warm them up.

    A process of its own runs a stranger's graph first: one without end, or that takes all memory, must not end the
    server.

    Raises:
        BundleError: a check failed, the model does not answer, or lacks the answer wanted; says which and why.
        DatasetError: the prior does not go with the answer's classes.
        DetectorError: the detector cannot be used here.
        DeviceError: the device cannot.
    """
    if not bundle.ours:
        _require(verify_once(bundle), name, version)
    model = Recognizer(
        bundle, detector.make(), threads=1, max_pixels=max_pixels, answer=answer, prior=prior, device=detector.device
    )
    _require(verify_bundle(bundle, 1, detector.device, session=model.session), name, version)
    # A session with one thread runs in the thread that calls it, so that the workers can share it.
    readers = deque(Reader(model, detector) for _ in range(workers))
    for reader in readers:
        reader.warm_up()
    manifest = bundle.manifest
    digest = hashlib.sha256(bundle.model).hexdigest()
    return Serving(name, version, digest, manifest, manifest.answer(answer), prior or Prior(), readers)


def _require(checks: Sequence[Check], name: str, version: int) -> None:
    failed = [f"{check.name}: {check.detail}" for check in checks if check.passed is False]
    if failed:
        raise BundleError(f"{name}@{version} does not verify: {'; '.join(failed)}")
