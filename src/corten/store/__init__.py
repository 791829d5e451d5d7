"""Persistent state: blobs, image records, leases, and the SQLite file with one writer."""
