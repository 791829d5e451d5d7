# syntax=docker/dockerfile:1
# Corten itself; the context is a checkout.
FROM debian-base
RUN --mount=type=secret,id=apt,target=/etc/apt/apt.conf.d/99machine \
    --mount=type=secret,id=certificates,target=/etc/ssl/machine.crt \
    apt-get update -q && apt-get install -qy --no-install-recommends python3 python3-venv nftables procps busybox-static
COPY . /src
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=certificates,target=/etc/ssl/machine.crt \
    python3 -m venv /opt/corten && /opt/corten/bin/pip install -q /src
ENTRYPOINT ["/opt/corten/bin/corten"]
