"""The process that owns one container, and the launcher it is forked from.

    wire        the frames that daemon, launcher and supervisors exchange; a codec without sockets, and a thin one with
    requests    what a frame asks of a supervisor, as types
    launcher    forks supervisors, network namespaces and workers on request; never a thread, never a database
    forked      what every process that it forks does first
    supervise   one container's owner: create, start, serve, end; uses `corten.instance.contract` alone
    native, external   instances: our runtime, and any other OCI binary
    processes   what both have in common: pidfd, control group, /proc
    clone       what is done in processes that are cloned for a container: its first one, execs, helpers
    output, clients    where output goes: the log, and who is attached; a slow client never holds the container up
    logfile     Docker's json-file, rotated
    endings     exit.json: how a run ended, durable before it is reported
    workers, trees     work on image trees in processes of their own
    warmup      what makes supervisors small

Standard library only, and little of it: every import is memory in every supervisor.
"""
