"""Networks into bundles: export, calibration, compression, ensembles."""
