"""Whole virtual machines as objects: their records, disks, and verbs, over the engine's volumes and networks."""
