"""Makes the pictures of the documentation from the bundled sample, by the commands that stand beside them.

python scripts/make_docs_pictures.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from mien.cli import app

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "src/mien/samples/group.jpg"
PICTURES = ROOT / "docs/pictures"
WIDTH = 944
"""Width of a picture in the documentation, in pixels."""


def main() -> None:
    """Write `annotated.jpg` and `blurred.jpg`."""
    for name, options in (("annotated", []), ("blurred", ["--blur-faces"])):
        with tempfile.TemporaryDirectory() as folder:
            app(["predict", str(SAMPLE), "--annotate", folder, *options], standalone_mode=False)
            (drawn,) = Path(folder).iterdir()
            picture = Image.open(drawn)
            picture.thumbnail((WIDTH, WIDTH))
            PICTURES.mkdir(parents=True, exist_ok=True)
            picture.save(PICTURES / f"{name}.jpg", quality=85, optimize=True)


if __name__ == "__main__":
    main()
