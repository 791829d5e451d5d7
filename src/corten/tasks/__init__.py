"""The daemon's side of the launcher and of supervisors, over `supervisor.wire`; begin with `contract`.

contract      Runtime, Task, Bundle, NetworkNamespaces: what each does
launcher      starts the launcher and sends it requests
supervisors   Runtime: makes and finds supervisors
task          Task: one connection to a supervisor
namespaces    NetworkNamespaces
long_lived    network.long_lived.LongLived: messages to processes that outlive the daemon
workers       unpacking layers, filling volumes
streams       a client's raw connection, before it is handed over
trees         what processes do in a container's tree: cp, diff, export, commit
filters       compiled system call filters, as descriptors
leftovers     what a supervisor that was killed did not come to
"""
