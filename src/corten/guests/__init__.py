"""Guests of containers, from the daemon's side: which machine they are, and what they begin from."""
