"""A typed client of Docker's REST API over a unix or tcp socket; standard library only, made to start quickly.

    client = Client(address.parse("unix:///run/corten/corten.sock"))
    box = containers.create(client, "demo", CreateRequest(image="busybox", cmd=["true"]))
    containers.start(client, box["Id"])

One module per noun (containers, execs, images, networks, volumes, system); each function is one request. A refusal by
the daemon is `ApiError` with its HTTP status; a socket that cannot be reached is `Unreachable`.
"""
