"""Layers as tars: reading, applying, merging and writing them, on directory descriptors only."""
