"""Makes the bundled sample pictures from scikit-image's `astronaut` (NASA, public domain).

python scripts/make_samples.py      needs scikit-image (extra `dev`)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from skimage import data

SAMPLES = Path(__file__).parents[1] / "src/mien/samples"


def group(portrait: Image.Image) -> Image.Image:
    """One wide picture with the portrait as it is, mirrored and dim, and small, tilted and bright."""
    canvas = Image.new("RGB", (1180, 512), (58, 66, 84))
    canvas.paste(portrait, (0, 0))
    dim = ImageEnhance.Brightness(ImageOps.mirror(portrait).resize((360, 360), Image.Resampling.LANCZOS)).enhance(0.6)
    canvas.paste(dim, (512, 152))
    small = portrait.crop((96, 0, 352, 256)).rotate(12, Image.Resampling.BICUBIC, fillcolor=(58, 66, 84))
    canvas.paste(ImageEnhance.Brightness(small).enhance(1.15), (898, 130))
    return canvas


def main() -> None:
    """Write `astronaut.jpg` and `group.jpg`."""
    portrait = Image.fromarray(np.asarray(data.astronaut()))
    SAMPLES.mkdir(parents=True, exist_ok=True)
    portrait.save(SAMPLES / "astronaut.jpg", quality=92)
    group(portrait).save(SAMPLES / "group.jpg", quality=92)


if __name__ == "__main__":
    main()
