"""Give bundles both answers, `people` and `fer2013`, or measure those they have again.

A bundle that `mien train` made with `votes_weight` computes how people voted, and older ones slice it away: the graph
is changed so that this is an answer too. Each answer then gets its own temperature, prior, metrics and golden vectors,
and the file is written again in its place, sealed. Weights stay as they are.

    python scripts/remake_bundles.py data/fer2013 src/mien/weights/default.onnx src/mien/weights/large.onnx

The name in the manifest becomes that of the file.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from mien.model.bundle import load_bundle, write_bundle
from mien_train.bundles.answers import remade
from mien_train.data.packs import load_training_data


def main() -> None:
    """Remake each file and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the labeled folder with votes that they were trained on")
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--label-answer", default="fer2013", help="what the answer by the labels is called")
    parser.add_argument("--cache", type=Path, help="a folder for the decoded pictures; default: a temporary one")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for path in args.bundles:
            bundle = load_bundle(str(path))
            data = load_training_data(args.data, bundle.manifest.input, args.cache or Path(folder))
            command = f"python scripts/remake_bundles.py data/{args.data.name} {path}"
            new, golden = remade(bundle, data, args.label_answer, command)
            write_bundle(path, new.model, new.manifest, golden)
            print(path)
            for metric in new.manifest.metrics:
                print(f"  {metric.answer:8} {metric.name:40} {metric.value:8.4f}  {metric.samples}, {metric.split}")


if __name__ == "__main__":
    main()
