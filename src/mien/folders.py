"""Where mien keeps what is neither the user's input nor output."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def data_folder() -> Path:
    """mien's data folder: the environment variable MIEN_DATA, or the platform's place for user data."""
    chosen = os.environ.get("MIEN_DATA")
    return Path(chosen) if chosen else platformdirs.user_data_path("mien")
