"""resolv.conf(5): the name servers in it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

PUBLIC_SERVERS = ("8.8.8.8", "8.8.4.4")  # what Docker takes when the host has none that can be asked


def nameservers(text: str) -> list[str]:
    """The servers of a resolv.conf, in order."""
    found = []
    for words in lines(text):
        if words[0] == "nameserver" and len(words) > 1:
            try:
                ipaddress.ip_address(words[1].partition("%")[0])
            except ValueError:
                continue  # the host's file is its administrator's; a resolver skips such a line as well
            found.append(words[1])
    return found


def lines(text: str) -> Iterator[list[str]]:
    """The words of each line that says something."""
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        if words:
            yield words
