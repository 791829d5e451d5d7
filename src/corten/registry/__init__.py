"""Registries: the client, and the server, which uses the client for other registries. The client imports no server."""
