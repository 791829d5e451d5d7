"""Registries: the client, and the server, which asks other registries through it. The client knows no server."""
