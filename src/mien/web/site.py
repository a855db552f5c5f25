"""Which files make the page: those of this folder, the samples and, where ONNX Runtime Web is there, the networks.

`make web` fetches ONNX Runtime Web into `onnxruntime/`. Without it the page works with a server alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from importlib import resources
from pathlib import Path

import numpy as np

from mien._version import __version__
from mien.errors import BundleError, MienError
from mien.model.bundle import Bundle, load_bundle
from mien.model.manifest import Answer
from mien.model.prior import EVEN, Prior

PAGE = (
    "index.html", "style.css", "icon.svg", "app.js", "crop.js", "detector.js", "device_reader.js", "dom.js", "faces.js",
    "keep.js", "live.js", "picture.js", "pixels.js", "server_reader.js", "timeline.js", "worker.js", "words.js",
)  # fmt: skip
"""Files of this folder that the page loads. `sw.js` is not among them: a browser keeps it by itself."""

RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""Files of ONNX Runtime Web that the page loads, from `onnxruntime/`."""

DETECTOR = "face.onnx"

MODELS = ("models/face.onnx", "models/expression.onnx")
"""The networks that the browser runs: the detector and the model."""

SAMPLES = (
    ("group.jpg", "Three faces", "Three portraits of an astronaut, side by side"),
    ("astronaut.jpg", "One face", "Portrait of an astronaut in an orange suit"),
)

ADDRESSES = frozenset(
    {*PAGE, "sw.js", "site.json", *(f"samples/{name}" for name, *_ in SAMPLES)}
    | {*(f"onnxruntime/{name}" for name in RUNTIME), *MODELS}
)
"""Every address below the page's own that a file of the page can have."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob:; media-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""What a server sends with every file of the page. The first lets nothing leave for another host."""

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
}


def media_type(name: str) -> str:
    """The `Content-Type` of a file of the page."""
    return MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream")


def cache_control(versioned: bool) -> str:
    """`Cache-Control` of an answer; `versioned` says whether the address names the content (`?v=...`)."""
    return "public, max-age=31536000, immutable" if versioned else "no-cache"


def has_device_mode() -> bool:
    """Whether the page can read pictures in the browser: ONNX Runtime Web and the detector's network are there."""
    return all(path.is_file() for path in [*_runtime().values(), _folder("weights") / DETECTOR])


def page_files(
    *,
    server: bool,
    on_device: bool = True,
    model: str | os.PathLike[str] | Bundle = "default",
    answer: str | None = None,
    prior: Prior | None = None,
) -> dict[str, Path | bytes]:
    """Every file of the page by its address below the page's own, with its path or its content.

    Args:
        server: whether the same server answers `v1/read`; without it the page reads pictures on the device alone.
        on_device: whether the page may read pictures on the device, where its files are there.
        model: the bundle that the browser runs, or its name or path.
        answer: which of its answers the page gives; None: its default.
        prior: the mix of classes to expect; None: that of the training.

    Raises:
        MienError: the model cannot be used; see `mien.model.bundle.load_bundle`.
    """
    files: dict[str, Path | bytes] = {name: _folder("web") / name for name in (*PAGE, "sw.js")}
    files |= {f"samples/{name}": _folder("samples") / name for name, *_ in SAMPLES}
    device: dict[str, object] | None = None
    device_files: dict[str, Path | bytes] = {}
    if on_device and has_device_mode():
        bundle = model if isinstance(model, Bundle) else load_bundle(model)
        device, device_files = _device(bundle, answer, prior or Prior())
    versions = {name: _version(content) for name, content in device_files.items()}
    site = {
        "version": __version__,
        "server": server,
        "samples": [{"file": f"samples/{name}", "title": title, "alt": alt} for name, title, alt in SAMPLES],
        "device": device,
        "files": [name for name in files if name != "sw.js"],
        "device_files": [f"{name}?v={version}" for name, version in versions.items()],
    }
    return {**files, **device_files, "site.json": json.dumps(site, indent=1).encode()}


def _device(bundle: Bundle, answer_name: str | None, prior: Prior) -> tuple[dict[str, object], dict[str, Path | bytes]]:
    """What `site.json` says of the device mode, and its files."""
    answer = bundle.manifest.answer(answer_name)
    _check_for_browsers(bundle, answer)
    runtime = _runtime()
    detector = _folder("weights") / DETECTOR
    files: dict[str, Path | bytes] = {f"onnxruntime/{name}": path for name, path in runtime.items()}
    files |= dict(zip(MODELS, (detector, bundle.model), strict=True))

    def entry(name: str) -> dict[str, object]:
        content = files[name]
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        return {"file": f"{name}?v={_version(content)}", "bytes": size}

    manifest = bundle.manifest.model_dump(mode="json", include={"input", "crop"})
    about: dict[str, object] = {
        "script": entry("onnxruntime/ort.wasm.min.mjs"),
        "glue": entry("onnxruntime/ort-wasm-simd-threaded.mjs"),
        "wasm": entry("onnxruntime/ort-wasm-simd-threaded.wasm"),
        "detector": entry(MODELS[0]),
        "model": {
            **entry(MODELS[1]),
            "name": bundle.manifest.name,
            "sha256": hashlib.sha256(bundle.model).hexdigest(),
            "answers": _answers(bundle, answer, prior),
            "manifest": manifest,
        },
    }
    return about, files


def _answers(bundle: Bundle, default: Answer, prior: Prior) -> list[dict[str, object]]:
    """What a visitor may choose between, the default first: names, outputs, and factors that shift to a prior.

    Raises:
        MienError: the default answer does not go with the prior.
    """
    others = [answer for answer in bundle.manifest.all_answers if answer != default and answer.outputs.probabilities]
    listed = [_about_answer(bundle, default, prior)]
    for answer in others:
        with suppress(MienError):  # one that does not go with the prior is not offered
            listed.append(_about_answer(bundle, answer, prior))
    return listed


def _about_answer(bundle: Bundle, answer: Answer, prior: Prior) -> dict[str, object]:
    def factors(wanted: Prior) -> list[float] | None:
        shift = wanted.shift(answer, bundle.manifest.name)
        return None if shift is None else np.exp(shift, dtype=np.float64).tolist()

    return {
        "name": answer.name or None,
        "meaning": answer.meaning,
        "classes": list(answer.classes),
        "output": answer.outputs.probabilities,
        "prior": str(prior),
        "factors": factors(prior),
        "even": factors(Prior(EVEN)) if answer.prior else None,
    }


def _check_for_browsers(bundle: Bundle, answer: Answer) -> None:
    """Refuse what the page's JavaScript does not prepare: it knows the bundles that mien makes."""
    spec, outputs = bundle.manifest.input, answer.outputs
    if (spec.dtype, spec.layout) != ("uint8", "NHWC") or outputs.probabilities is None:
        raise BundleError(
            f"{bundle.path}: expected a model that takes uint8 NHWC and gives probabilities, as mien exports them, "
            f"found {spec.dtype} {spec.layout}; the page cannot run it in a browser"
        )


def _folder(name: str) -> Path:
    return Path(str(resources.files("mien") / name))


def _runtime() -> dict[str, Path]:
    return {name: _folder("web") / "onnxruntime" / name for name in RUNTIME}


def _version(content: Path | bytes) -> str:
    data = content if isinstance(content, bytes) else content.read_bytes()
    return hashlib.sha256(data).hexdigest()[:12]
