"""The bundled float classifier in ONNX Runtime against the same network in PyTorch eager: same run, one thread.

python benchmarks/classifier.py         needs the extra `train`
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from mien.model.bundle import load_bundle
from mien.model.session import Session
from mien_train.bundles.to_onnx import DeployedNetwork
from mien_train.data.tensors import output_columns
from mien_train.networks.resnet import build_network
from mien_train.recipe import Recipe, parse_recipe

SECONDS = 3.0


def rate(call: Callable[[], object], pictures: int) -> float:
    """Pictures a second: the median over calls within `SECONDS`, after a warm-up."""
    for _ in range(3):
        call()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 5:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return pictures / statistics.median(times)


def main() -> None:
    """Print pictures a second and the ratio, at batch 1 and 64."""
    torch.set_num_threads(1)
    bundle = load_bundle("large")
    manifest = bundle.manifest
    # A manifest notes more beside the recipe than a recipe may hold.
    recipe = parse_recipe({k: v for k, v in manifest.training.recipe.items() if k in Recipe.model_fields}, "manifest")
    classes = len(manifest.label_answer.classes)
    # Speed does not depend on the weights' values, so a fresh network of the same recipe stands for the trained one.
    network = build_network(recipe.network, manifest.input.channels, output_columns(recipe, classes), recipe.size)
    eager = DeployedNetwork(network, classes, manifest.label_answer.calibration.temperature).eval()
    session = Session(bundle, threads=1)
    for batch in (1, 64):
        crops = np.random.default_rng(0).integers(
            0, 256, (batch, recipe.size, recipe.size, manifest.input.channels), np.uint8
        )
        tensor = torch.from_numpy(crops)
        with torch.inference_mode():
            torch_rate = rate(lambda tensor=tensor: eager(tensor), batch)
        onnx_rate = rate(lambda crops=crops: session.run(crops), batch)
        print(
            f"batch {batch:2}: ONNX Runtime {onnx_rate:6.0f}/s, PyTorch eager {torch_rate:6.0f}/s, ratio "
            f"{onnx_rate / torch_rate:.1f}"
        )


if __name__ == "__main__":
    main()
