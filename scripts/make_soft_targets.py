"""Ask bundles about every training picture, in several views, and store the answers: soft targets for `mien train`.

The first view is the picture as it is, the second its mirror image; the others are augmented, each by its own seed.

    python scripts/make_soft_targets.py data/fer2013 --teacher large --teacher default --views 4 --out soft.npz
    mien train data/fer2013 --out runs/pupil --recipe pupil.toml --teacher soft.npz
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mien.model.bundle import load_bundle
from mien.model.session import Session
from mien_train.data.augment import augment
from mien_train.data.packs import Pack, load_training_data
from mien_train.data.soft_targets import save_soft_targets
from mien_train.data.tensors import normalize, to_tensor
from mien_train.recipe import AugmentRecipe

BATCH = 256
VIEWS = AugmentRecipe(
    rotate_deg=10,
    scale=0.08,
    shift=0.04,
    brightness=0.1,
    contrast=0.15,
    blur_share=0,
    low_res_share=0,
    noise=0,
    noise_share=0,
    erase_share=0,
)  # fmt: skip - mild: a teacher should still see the face that people voted on


def look(pictures: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """View number `view` of uint8 pictures `[N, H, W, C]`."""
    if view == 0:
        return pictures
    if view == 1:
        return np.ascontiguousarray(pictures[:, :, ::-1])
    seen = augment(normalize(to_tensor(pictures)), VIEWS, torch.Generator().manual_seed(view))
    whole = ((seen + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(whole.permute(0, 2, 3, 1).numpy())


def ask(session: Session, pack: Pack, views: int) -> NDArray[np.float32]:
    """What `session` says of every view: float32 `[V, N, K]` in the order of `pack.classes`."""
    columns = [session.classes.index(name) for name in pack.classes]
    said = np.zeros((views, len(pack.labels), len(columns)), np.float32)
    for start in range(0, len(pack.labels), BATCH):
        pictures = np.array(pack.images[start : start + BATCH])
        for view in range(views):
            said[view, start : start + BATCH] = session.run(look(pictures, view))[0][:, columns]
        if start % (20 * BATCH) == 0:
            print(f"{session.manifest.name}: {start} of {len(pack.labels)}", flush=True)
    return said


def main() -> None:
    """Ask each teacher, take the mean of their logarithms, and store it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the labeled folder with votes")
    parser.add_argument("--teacher", action="append", required=True, help="a bundle: file, or a bundled model's name")
    parser.add_argument("--answer", default="people", help="which of the teachers' answers")
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--cache", type=Path, help="a folder for the decoded pictures; default: a temporary one")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    sessions = [Session(load_bundle(teacher), answer=args.answer) for teacher in args.teacher]
    with tempfile.TemporaryDirectory() as folder:
        data = load_training_data(args.data, sessions[0].manifest.input, args.cache or Path(folder))
        logs = sum(np.log(np.maximum(ask(session, data.train, args.views), 1e-6)) for session in sessions)
        people = np.exp(logs / len(sessions))
        save_soft_targets(args.out, data.train.keys, data.train.classes, people / people.sum(-1, keepdims=True))
    print(args.out)


if __name__ == "__main__":
    main()
