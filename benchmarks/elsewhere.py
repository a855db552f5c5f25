"""How models do away from home: accuracy and mean recall on faces that FER2013 never saw, in each set of a file.

The file is a Parquet table with the columns `set`, `label` and `image` (the bytes of a picture). A picture is padded
by a quarter on each side (its border repeats), then the default detector finds the face; none found is an error.
The package `fer` gets the same boxes, in an environment of its own (Python 3.11):

    pip install --no-deps fer==22.5.1
    pip install tensorflow-cpu==2.15.1 'numpy<2' 'opencv-contrib-python<4.12' 'moviepy<2' pandas requests tqdm

    python benchmarks/elsewhere.py faces.parquet [--model default] [--fer ENVIRONMENT/bin/python]
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from PIL import Image
from rich.progress import track

from mien.dataset import canonical
from mien.detect import default_detector_name, make_detector
from mien.model.bundle import load_bundle
from mien.model.crop import cut
from mien.model.prior import Prior
from mien.model.session import Session

FER = """
import json, sys
import numpy as np
from fer.fer import FER
found, data = FER(), np.load(sys.argv[1])
said = []
for i, (x1, y1, x2, y2) in enumerate(data["boxes"].astype(int).tolist()):
    faces = found.detect_emotions(data[f"image{i}"], face_rectangles=[(x1, y1, x2 - x1, y2 - y1)])
    emotions = faces[0]["emotions"] if faces else {"neutral": 1}
    said.append(max(emotions, key=emotions.get))
print("SAID" + json.dumps(said))
"""


def padded(data: bytes) -> np.ndarray:
    """uint8 `[H, W, 3]`, BGR, a quarter wider on each side."""
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))[..., ::-1]
    high, wide = picture.shape[0] // 4, picture.shape[1] // 4
    return np.ascontiguousarray(np.pad(picture, ((high, high), (wide, wide), (0, 0)), mode="edge"))


def report(name: str, sets: list[str], labels: list[str], said: list[str]) -> None:
    """A line for each set; "" in `said` is a face that was not found."""
    for chosen in dict.fromkeys(sets):
        pairs = [(a, b) for s, a, b in zip(sets, labels, said, strict=True) if s == chosen]
        classes = sorted({label for label, _ in pairs})
        recalls = {c: float(np.mean([b == c for a, b in pairs if a == c])) for c in classes}
        line = f"{name:34} {chosen:7} accuracy {np.mean([a == b for a, b in pairs]):6.1%}"
        line += f"  mean recall {np.mean(list(recalls.values())):6.1%}"
        if set(classes) == {"happy", "neutral"}:
            called = np.mean([b == "happy" for a, b in pairs if a == "neutral"])
            line += f"  smiles read as happy {recalls['happy']:6.1%}, neutral faces {called:6.1%}"
        print(f"{line}  of {len(pairs)}")


def main() -> None:
    """Print a line for each reader and set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--fer", type=Path, help="Python of an environment with the package fer")
    args = parser.parse_args()
    rows = parquet.read_table(args.faces).to_pylist()
    sets, labels = [row["set"] for row in rows], [row["label"] for row in rows]
    session = Session(load_bundle(args.model))
    detector = make_detector(default_detector_name())
    crops, kept, images, boxes = [], [], [], []
    for number, row in enumerate(track(rows, "finding faces")):
        image = padded(row["image"])
        faces = detector.detect(image)
        if faces:
            crops.append(cut(image, faces[:1], session.manifest.crop, session.manifest.input)[0])
            kept.append(number)
            images.append(image)
            boxes.append(faces[0].box_xyxy)
    stacked = np.stack(crops)

    def spread(answers: list[str]) -> list[str]:
        said = [""] * len(rows)
        for number, answer in zip(kept, answers, strict=True):
            said[number] = answer
        return said

    for answer in session.manifest.all_answers:
        for prior in (Prior(), Prior("even", strength=0.5), Prior("even")) if answer.prior else (Prior(),):
            one = Session(session.bundle, answer=answer.name or None, prior=prior)
            best = np.concatenate([one.run(stacked[i : i + 64])[0] for i in range(0, len(stacked), 64)]).argmax(axis=1)
            said = spread([canonical(one.classes[k]) for k in best])
            report(" ".join(filter(None, (args.model, answer.name, f"({prior})"))), sets, labels, said)
    if args.fer:
        with tempfile.TemporaryDirectory() as folder:
            data, script = Path(folder, "faces.npz"), Path(folder, "ask.py")
            np.savez(data, boxes=np.array(boxes), **{f"image{i}": image for i, image in enumerate(images)})
            script.write_text(FER)
            done = subprocess.run([args.fer, script, data], capture_output=True, text=True)
        found = next((line for line in done.stdout.splitlines() if line.startswith("SAID")), "")
        if not found:
            raise SystemExit(f"{args.fer}: fer did not answer: {done.stderr.strip()[-500:]}")
        report("fer", sets, labels, spread([canonical(name) for name in json.loads(found[4:])]))


if __name__ == "__main__":
    main()
