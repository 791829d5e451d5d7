"""The kernel, one module per kernel object.

Thin typed calls that raise `OSError` with the call and its arguments. No policy, no logging, standard library only:
everything here runs in processes that must stay small (the launcher, supervisors, a container's first process).
"""
