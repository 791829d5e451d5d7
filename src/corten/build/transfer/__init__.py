"""Directories of clients, brought up to date: what a client says is in one, what of that is asked for, what is kept."""
