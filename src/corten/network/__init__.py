"""Networks and containers in them, over drivers; without a client's requests. Begin with `driver`.

driver            Driver, ActiveNetwork: what a driver does, and the network in use that it does it for
drivers           bridge, macvlan, ipvlan, host, none; `table` has their names
definition        a network on record; `store` has all of them, `predefined` those that every daemon has
endpoint          a container's place in a network, on record; `endpoints` connects, adopts, changes, disconnects
endpoint_request  what a container asks of a network
addresses, ipam   allocators; `subnets` chooses a network's
ports, firewall   published ports, and the rules that let packets pass
dataplane         what is in the kernel, for all drivers
resolver          the name server's process: what each container is called; `container_files`: hosts and resolv.conf
lifecycle         from the daemon's start to its end
audit             what is reachable from where
"""
