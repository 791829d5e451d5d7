"""Go's grammar of sizes, durations and booleans, as Docker's flags and files use it, and the words it prints.

Standard library only, and one module for each kind, so that the command line imports no more than it uses. A text that
cannot be read is a ValueError in Go's words; the caller adds which option the text belongs to.
"""
