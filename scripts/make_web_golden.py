"""Writes tests/web/golden.json: drawn pictures and what Python makes of them, as the page's JavaScript must too.

python scripts/make_web_golden.py
"""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect.scaled import NETWORK_REACH, detection_scale, resized
from mien.detect.yunet import NMS_IOU, decode_cells
from mien.geometry import suppress_overlaps
from mien.model.crop import cut
from mien.model.manifest import CropSpec, Framing, InputSpec
from mien.records import Box, Face, Image, Landmarks

TARGET = Path(__file__).parents[1] / "tests/web/golden.json"

SIZES = [
    (1, 1),
    (40, 4000),
    (64, 48),
    (320, 240),
    (640, 480),
    (641, 479),
    (1180, 512),
    (1920, 1080),
    (6000, 4000),
    (20000, 90),
]
MIN_FACES = [None, 8.0, 20.0, 40.0, 117.0]
RESIZES = [0.5, 0.731, 0.9, 0.3, 0.031, 1.37, 2.0]


def draw(width: int, height: int, seed: int) -> Image:
    """Smooth shades, ellipses and a little noise."""
    random = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    shades = np.stack([90 + 120 * x, 60 + 150 * y, 200 - 140 * x * y], axis=2)
    picture = np.clip(shades + random.normal(0, 1.5, shades.shape), 0, 255).astype(np.uint8)
    for _ in range(9):
        center = (int(random.integers(0, width)), int(random.integers(0, height)))
        axes = (int(random.integers(3, width // 4 + 4)), int(random.integers(3, height // 4 + 4)))
        color = tuple(int(v) for v in random.integers(0, 256, 3))
        cv2.ellipse(picture, center, axes, float(random.uniform(0, 180)), 0, 360, color, -1, cv2.LINE_AA)
    return picture


def packed(pixels: NDArray[np.uint8]) -> str:
    """Deflated, as base64."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(pixels).tobytes(), 9)).decode()


def faces() -> list[tuple[Box, Landmarks | None]]:
    """Level and turned, large and tiny, within the picture and past its edges."""

    def eyes(box: Box, tilt: float) -> Landmarks:
        (x1, y1, x2, y2), (cx, cy) = box, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        cos, sin = np.cos(tilt), np.sin(tilt)
        across, down = (x2 - x1) / 4, (y2 - y1) / 5
        places = [(-across, -down), (across, -down), (0, 0), (-across, down), (across, down)]
        a, b, c, d, e = ((float(cx + cos * x - sin * y), float(cy + sin * x + cos * y)) for x, y in places)
        return (a, b, c, d, e)

    boxes: list[tuple[Box, float | None]] = [
        ((30.0, 20.0, 78.0, 68.0), None),
        ((30.25, 12.5, 110.75, 104.0), 0.0),
        ((40.1, 30.7, 90.3, 96.2), 0.4),
        ((60.0, 40.0, 72.0, 55.0), -0.7),
        ((-20.5, -11.0, 60.0, 70.0), 0.15),
        ((120.0, 80.0, 190.0, 150.0), -0.3),
        ((2.0, 3.0, 148.0, 108.0), 1.2),
        ((-600.0, -700.0, 900.0, 800.0), 0.5),
        ((75.5, 50.5, 76.0, 51.2), 0.1),
    ]
    return [(box, None if tilt is None else eyes(box, tilt)) for box, tilt in boxes]


def crop_cases(picture: Image) -> list[dict[str, object]]:
    """Each face in each way of cutting."""
    framings = {
        "default": Framing(margin=1.0983, length="mean", shift_xy=(0.0, -0.0065)),
        "haar": Framing(margin=1.3, length="longer", shift_xy=(0.05, 0.1)),
    }
    ways = [
        ("yunet", "eyes", InputSpec(height=48, width=48, channels=1, color="gray")),
        ("haar", "none", InputSpec(height=24, width=32, channels=3, color="rgb")),
    ]
    cases: list[dict[str, object]] = []
    for detector, align, target in ways:
        spec = CropSpec(align="eyes" if align == "eyes" else "none", framings=framings)
        for box, landmarks in faces():
            crop = cut(picture, [Face(box, 1.0, landmarks, detector)], spec, target)[0]
            face = {"box": box, "landmarks": landmarks, "detector": detector}
            cases.append({"face": face, "spec": spec.model_dump(), "target": target.model_dump(), "crop": packed(crop)})
    return cases


def decode_case(width: int, height: int) -> dict[str, object]:
    """What a network might say of a small picture, and the faces that follow."""
    random = np.random.default_rng(5)
    cells = sum((width // stride) * (height // stride) for stride in (8, 16, 32))
    scores = random.uniform(0.3, 1, cells).astype(np.float32).round(4)
    boxes = random.normal(0, 0.7, (4, cells)).astype(np.float32).round(4)
    landmarks = random.normal(0, 1, (10, cells)).astype(np.float32).round(4)
    chosen = np.flatnonzero(scores >= np.float32(0.5))
    xyxy, points = decode_cells(chosen, boxes[:, chosen], landmarks[:, chosen], (height, width))
    kept = suppress_overlaps(xyxy, scores[chosen].astype(np.float64), NMS_IOU)
    found = [
        {"box": xyxy[i].tolist(), "landmarks": points[i].tolist(), "score": float(scores[chosen][i])} for i in kept
    ]
    outputs = {"scores": scores, "boxes": boxes, "landmarks": landmarks}
    return {
        "width": width,
        "height": height,
        "min_score": 0.5,
        "outputs": {name: [float(f"{v:.4f}") for v in values.ravel()] for name, values in outputs.items()},
        "faces": found,
    }


def golden() -> dict[str, object]:
    """Everything that the JavaScript is held to."""
    picture, small = draw(150, 110, 1), draw(37, 29, 2)
    scales = [(w, h, m, detection_scale(w, h, NETWORK_REACH, m)) for w, h in SIZES for m in MIN_FACES]
    resizes: list[dict[str, object]] = []
    for scale in RESIZES:
        out = resized(small, scale)
        resizes.append({"scale": scale, "width": out.shape[1], "height": out.shape[0], "pixels": packed(out)})
    return {
        "picture": {"width": 150, "height": 110, "pixels": packed(picture)},
        "small": {"width": 37, "height": 29, "pixels": packed(small)},
        "crops": crop_cases(picture),
        "resizes": resizes,
        "scales": [{"width": w, "height": h, "min_face": m, "scale": s} for w, h, m, s in scales],
        "decode": decode_case(96, 64),
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(golden()) + "\n", encoding="utf-8")
