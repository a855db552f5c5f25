"""Does a detected face reach the model as the training faces did?

Validation crops are read twice: given whole, and pasted (enlarged four times) into a larger canvas, detected and cut
out again. Accuracies over the crops in which a face was found; the rest are reported, not dropped in silence.

    python benchmarks/recut.py DATA [--detector yunet] [--model default] [--answer fer2013] [--limit 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.progress import track

from mien.dataset import read_split
from mien.detect import make_detector
from mien.media import read_image
from mien.model.bundle import load_bundle
from mien.model.crop import cut, whole_face
from mien.model.session import Session
from mien_train.data.framing import central_face, on_canvas


def main() -> None:
    """Print the two accuracies and their difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--detector", default="yunet")
    parser.add_argument("--model", default="default")
    parser.add_argument("--answer", help="which of the model's answers; fer2013 is the one that the labels are of")
    parser.add_argument("--limit", type=int, default=0, help="only this many pictures, evenly spread; 0: all")
    args = parser.parse_args()
    session = Session(load_bundle(args.model), answer=args.answer)
    manifest = session.manifest
    samples = read_split(args.data, "validation").samples
    samples = samples[:: max(len(samples) // args.limit, 1)] if args.limit else samples
    detector = make_detector(args.detector)

    whole, recut, truth = [], [], []
    for sample in track(samples, "recutting"):
        image = next(read_image(sample.path)).image
        crop = cut(image, [whole_face(image)], manifest.crop, manifest.input)
        canvas = on_canvas(image)
        face = central_face(detector.detect(canvas), canvas)
        if face is not None:
            whole.append(crop[0])
            recut.append(cut(canvas, [face], manifest.crop, manifest.input)[0])
            truth.append(manifest.classes.index(sample.label))
    right = [session.run(np.stack(crops))[0].argmax(axis=1) == np.array(truth) for crops in (whole, recut)]
    a, b = (100 * r.mean() for r in right)
    print(f"{args.detector}: a face in {len(truth)} of {len(samples)} pictures ({len(truth) / len(samples):.1%})")
    print(
        f"accuracy of the same {len(truth)}: given whole {a:.2f} %, detected and cut again {b:.2f} %, "
        f"difference {b - a:+.2f} points"
    )


if __name__ == "__main__":
    main()
