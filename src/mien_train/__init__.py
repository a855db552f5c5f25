"""Training: makes the bundles that `mien` runs. Needs torch (`pip install 'mien[train]'`); `mien` never imports it."""
