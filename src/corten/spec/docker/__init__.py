"""Docker's wire format as typed values: one structure of Go's each, with its keys, types, zero values and versions.

`decode` makes them of JSON in Go's words, `Struct.to_json` gives JSON back. A field stands here and nowhere else.
"""
