"""Registries: the client (pull) and, beside it, the server; the two do not import each other."""
