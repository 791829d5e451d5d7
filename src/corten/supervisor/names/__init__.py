"""The process that answers the questions of containers about names.

One for each daemon, forked by the launcher when the first user-defined network needs it. It outlives the daemon, as
containers do: it holds the sockets that the launcher opened in their namespaces, and what the daemon sent last.

    directory   who is called what in which network: sent by the daemon, read for every query
    service     one container's sockets: questions in, answers out
    upstreams   questions about other names, to the host's servers
    attempts    one such question to one server
    server      the process: the daemon's connection, and what happens without one
"""
