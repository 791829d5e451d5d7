"""The process that carries published ports which the kernel's packet filter cannot.

Those are the ones at ::1, because the kernel translates nothing that comes from there, and those at this host's IPv6
addresses that lead to a container without IPv6. One process for all of a daemon, forked by the launcher with the first
such port. It outlives the daemon, as containers do, and has the listening sockets that the daemon opened.

    server      the process: what the daemon can say
    streams     a TCP port and its connections
    datagrams   a UDP port and its flows
"""
