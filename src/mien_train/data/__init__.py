"""Labeled pictures as arrays: decoding, augmentation, detected views."""
