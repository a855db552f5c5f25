"""A bundle: one `.onnx` file that carries its manifest and golden vectors. From a name or path to a checked bundle."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import BundleError, BundleMismatch, ManifestError, RegistryError, Remedy, reason
from mien.files import make_folder, write_bytes
from mien.model import onnxfile
from mien.model.crop import Crops
from mien.model.external_data import refuse_external_data
from mien.model.manifest import MAX_MANIFEST_BYTES, Answer, Manifest, parse_manifest

MANIFEST_KEY = "mien.manifest"
GOLDEN_KEY = "mien.golden"

BUNDLED = {"default": "default.onnx", "large": "large.onnx"}
"""Models that come with mien, by name; the files lie in `mien/weights`. `large` is in floats: to train on from."""

FORMER_NAMES = {"small": "default"}
"""What bundled models were called before -> what they are called now."""

MAX_TOLERANCE = 0.05
"""Largest difference of a probability that a bundle may call equal, whatever its golden vectors say."""

MAX_MODEL_BYTES = 2_147_483_647
"""Largest model file: ONNX files are protobuf messages, and these are never larger."""

PICKLE_SUFFIXES = frozenset({".pth", ".pt", ".pkl", ".ckpt", ".bin"})


@dataclass(frozen=True, eq=False)
class GoldenVectors:
    """Crops, and the probabilities the trainer computed for them.

    Attributes:
        crops: uint8 `[N, H, W, C]`.
        probabilities: float32 `[N, K]`, of the default answer.
        tolerance: largest difference of a probability that counts as equal.
        others: float32 `[N, K]` of each other answer, by its name.
    """

    crops: Crops
    probabilities: NDArray[np.float32]
    tolerance: float = 1e-4
    others: Mapping[str, NDArray[np.float32]] = field(default_factory=dict[str, NDArray[np.float32]])

    def of(self, answer: Answer, manifest: Manifest) -> NDArray[np.float32]:
        """The probabilities of one of the manifest's answers, `[N, K]`."""
        return self.probabilities if answer == manifest.answer() else self.others[answer.name]

    def to_json(self) -> str:
        """Pixels as base64, probabilities as numbers."""
        pixels = base64.b64encode(self.crops.tobytes()).decode()
        others = {name: _numbers(probabilities) for name, probabilities in self.others.items()}
        return json.dumps(
            {
                "shape": self.crops.shape,
                "crops": pixels,
                "probabilities": _numbers(self.probabilities),
                "tolerance": self.tolerance,
            }
            | ({"answers": others} if others else {})
        )


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model file in memory, its manifest validated and its seal checked.

    `golden` is None, and `sealed` False, for somebody else's ONNX model with a sidecar manifest.
    """

    path: Path
    model: bytes
    manifest: Manifest
    golden: GoldenVectors | None
    sealed: bool

    @property
    def vouched(self) -> bool:
        """Whether a seal shows that nothing was altered, or it is somebody else's model, which never had one."""
        return self.sealed or MANIFEST_KEY not in onnxfile.metadata(self.model, str(self.path))

    @property
    def ours(self) -> bool:
        """Whether it came with mien."""
        return self.path in map(_bundled_path, BUNDLED)


def load_bundle(name: str | os.PathLike[str] = "default", *, unsealed: bool = False) -> Bundle:
    """Load a bundled model by name, or any model by path.

    Args:
        name: a bundled model's (see `BUNDLED`), or the path of a `.onnx` file with a manifest inside or, as
            `NAME.manifest.json`, beside it.
        unsealed: take a bundle that carries a manifest and has lost its seal.

    Raises:
        RegistryError: neither a known name nor an existing file.
        BundleError: not an ONNX file.
        ManifestError: no manifest, or one that breaks the schema.
        BundleMismatch: the file was changed after it was sealed, or its seal was taken away.
    """
    path = _resolve(name)
    bundle = read_bundle(_read(path, MAX_MODEL_BYTES), path)
    if not (bundle.vouched or unsealed):
        raise BundleMismatch(
            f"{path}: it carries a manifest and no seal, so that nothing shows whether it was altered; take a fresh "
            "copy",
            Remedy.UNSEALED,
        )
    return bundle


def read_bundle(data: bytes, path: Path) -> Bundle:
    """Like `load_bundle`, from bytes; `path` names them and locates the sidecar."""
    source = str(path)
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise BundleError(
            f"{source}: expected a .onnx bundle, found PyTorch weights (mien never unpickles a model); convert "
            "them with `mien export`"
        )
    entries = onnxfile.metadata(data, source)
    refuse_external_data(data, source)
    sealed = onnxfile.check_seal(data, source)
    sidecar = path.with_name(path.stem + ".manifest.json")
    if MANIFEST_KEY in entries:
        manifest = parse_manifest(entries[MANIFEST_KEY], source)
        if sidecar.exists() and parse_manifest(_read(sidecar, MAX_MANIFEST_BYTES), str(sidecar)) != manifest:
            raise BundleMismatch(
                f"{source} carries a manifest, and {sidecar} says something else; remove {sidecar.name}"
            )
    elif sidecar.exists():
        manifest = parse_manifest(_read(sidecar, MAX_MANIFEST_BYTES), str(sidecar))
    else:
        raise ManifestError(
            f"{source}: no manifest inside it (metadata key {MANIFEST_KEY!r}), nor beside it as {sidecar.name}; "
            "write one that gives classes, input and crop (docs/reference/bundle.md has a template)"
        )
    golden = _parse_golden(entries[GOLDEN_KEY], manifest, source) if GOLDEN_KEY in entries else None
    return Bundle(path, data, manifest, golden, sealed=sealed)


def write_bundle(path: Path, model: bytes, manifest: Manifest, golden: GoldenVectors) -> Bundle:
    """Put manifest, golden vectors and seal into `model` (ONNX bytes) and write it to `path`, atomically.

    The manifest's `weights_sha256` is filled in here.

    Raises:
        BundleError: `model` is not ONNX, or `path` cannot be written.
    """
    source = str(path)
    manifest = manifest.model_copy(update={"weights_sha256": onnxfile.graph_sha256(model, source)})
    entries = {MANIFEST_KEY: manifest.to_json(), GOLDEN_KEY: golden.to_json()}
    data = onnxfile.with_seal(onnxfile.with_metadata(model, entries, source), source)
    make_folder(path.parent, BundleError)
    write_bytes(path, data, BundleError)
    return read_bundle(data, path)


def _read(path: Path, most: int) -> bytes:
    try:
        if not path.is_file():
            raise BundleError(f"{path}: expected a file, found a folder, device or pipe")
        if (size := path.stat().st_size) > most:
            raise BundleError(f"{path}: {size:,} bytes; expected at most {most:,}")
        return path.read_bytes()
    except (OSError, MemoryError) as error:
        raise BundleError(f"{path}: cannot be read ({reason(error)})") from error


def _resolve(name: str | os.PathLike[str]) -> Path:
    if isinstance(name, str) and (bundled := FORMER_NAMES.get(name, name)) in BUNDLED:
        return _bundled_path(bundled)
    path = Path(name)
    if not path.exists():
        raise RegistryError(
            f"no model called {str(name)!r}: expected one of {', '.join(BUNDLED)}, or the path of an existing "
            ".onnx file"
        )
    return path


def _bundled_path(name: str) -> Path:
    return Path(str(resources.files("mien") / "weights" / BUNDLED[name]))


def _numbers(probabilities: NDArray[np.float32]) -> list[list[float]]:
    return [[float(f"{p:.8g}") for p in row] for row in probabilities]


def _array(rows: object, count: int, columns: int) -> NDArray[np.float32]:
    return np.asarray(rows, np.float32).reshape(count, columns)


def _parse_golden(text: str, manifest: Manifest, source: str) -> GoldenVectors:
    try:
        parts: dict[str, Any] = json.loads(text)
        pixels = np.frombuffer(base64.b64decode(parts["crops"]), np.uint8)
        crops: Crops = pixels.reshape([int(n) for n in parts["shape"]])
        first, *rest = manifest.all_answers
        others = {a.name: _array(parts["answers"][a.name], len(crops), len(a.classes)) for a in rest}
        probabilities = _array(parts["probabilities"], len(crops), len(first.classes))
        tolerance = float(parts["tolerance"])
        if not (0 < tolerance <= MAX_TOLERANCE):
            raise ValueError(f"a tolerance of {tolerance:g}, expected more than 0 and at most {MAX_TOLERANCE:g}")
        everything = [probabilities, *others.values()]
        if not all(np.isfinite(rows).all() for rows in everything):
            raise ValueError("probabilities that are not finite")
        return GoldenVectors(crops, probabilities, tolerance, others)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BundleError(
            f"{source}: the golden vectors (metadata key {GOLDEN_KEY!r}) are damaged ({reason(error)[:200]})"
        ) from error
