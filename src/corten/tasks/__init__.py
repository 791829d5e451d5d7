"""The daemon's side of the launcher and of supervisors: what `engine.seams` asks for, over `supervisor.wire`.

launcher      starts the launcher and sends it requests
supervised    Runtime and Task: one connection to each supervisor
namespaces    NetworkNamespaces
workers       unpacking layers, filling volumes
"""
