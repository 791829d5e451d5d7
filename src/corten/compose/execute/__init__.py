"""Doing what a plan says: steps side by side, each behind what it needs; waits by the engine's events."""
