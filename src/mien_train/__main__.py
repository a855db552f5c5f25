"""`python -m mien_train DATA ...` is `mien train DATA ...`, for torchrun."""

from __future__ import annotations

import sys

from mien.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["train"]
    main()
