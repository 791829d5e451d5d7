"""Containers: their records, and one module for each thing that happens to them."""
