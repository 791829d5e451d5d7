"""The process that owns one container, and the launcher it is forked from.

    wire        the frames that daemon, launcher and supervisors exchange; a codec without sockets, and a thin one with
    launcher    forks supervisors, network namespaces and workers on request; never a thread, never a database
    supervise   one container's owner: create, start, serve, end
    clients     who is attached, and how a slow one never holds the container up
    logfile     Docker's json-file, rotated
    endings     exit.json: how a run ended, durable before anybody is told

Standard library only, and little of it: every import is memory in every supervisor.
"""
