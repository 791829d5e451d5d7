"""diff, commit, export and cp of a container whose tree changes meanwhile: each has an answer."""

from __future__ import annotations

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend

CHURN = """
mkdir /w; cd /w
while :; do
  mkdir -p a/b/c; echo x > a/b/c/f; ln -s f a/b/c/l; ln a/b/c/f a/b/c/h
  mv a/b b; rm -rf a; echo y > a; rm -rf b; ln -s /w b; rm -f a b
  echo 1 > /etc/passwd.new; mv /etc/passwd.new /etc/passwd
  rm -rf /usr2; cp -r /etc /usr2; mkfifo p; rm p
  head -c 2000000 /dev/zero > big; : > big; rm big
done
"""


@pytest.mark.usefixtures("no_images_left")
def test_every_request_is_answered(docker: Client, daemon: Cortend) -> None:
    id = docker.out("run", "-d", "--network", "none", IMAGE, "sh", "-c", CHURN)
    docker("exec", id, "sh", "-c", "until test -d /w; do sleep 0.01; done")
    for number in range(12):
        status, listed = daemon.ask("GET", f"/containers/{id}/changes")
        assert status == 200 and any(change["Path"] == "/w" for change in listed), listed
        if number % 4 == 0:
            assert daemon.ask("POST", f"/commit?container={id}&pause=0&repo=moving")[0] == 201
            for path in ("export", "archive?path=/w"):
                assert daemon.ask("GET", f"/containers/{id}/{path}")[0] == 200
    assert docker.out("run", "--rm", "--network", "none", "moving", "echo", "whole") == "whole"
