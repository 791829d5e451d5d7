"""Texts that are checked: environment, labels, key=value pairs, hosts, addresses. ValueError says what is wrong."""

from __future__ import annotations

import os

from corten.cli import smallfiles
from corten.cli.errors import CommandError
from corten.cli.flags import pairs
from corten.client import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def parse_env(text: str) -> str:
    """NAME=VALUE, or NAME for our own variable; a name that we have no value for makes the engine unset it."""
    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    if not equals and name in os.environ:
        return f"{name}={os.environ[name]}"
    return text


SYSCTLS = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)
SYSCTL_PREFIXES = ("net.", "fs.mqueue.")


def parse_sysctl(text: str) -> str:
    """NAME=VALUE of a parameter that belongs to a namespace; others would change the host."""
    name, equals, _ = text.partition("=")
    if not equals or not (name in SYSCTLS or name.startswith(SYSCTL_PREFIXES)):
        raise ValueError(f"sysctl '{text}' is not allowed")
    return text


def parse_label(text: str) -> str:
    if not text.partition("=")[0]:
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def parse_pair(text: str) -> str:
    """NAME=VALUE (a bare NAME has the empty value)."""
    if not text.partition("=")[0]:
        raise ValueError(f"invalid {text!r}: the name is missing")
    return text


def parse_attach(text: str) -> str:
    lower = text.lower()
    if lower not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return lower


def parse_extra_host(text: str) -> str:
    """name:address or name=address, to Docker's name:address. `host-gateway` stands for the host's address."""
    equals, colon = text.find("="), text.find(":")
    separator = "=" if equals >= 0 and (colon < 0 or equals < colon) else ":"
    name, found, address = text.partition(separator)
    if not found or not name:
        raise ValueError(f"bad format for add-host: {json_quote(text)}")
    if len(address) > 2 and address[0] == "[" and address[-1] == "]":
        address = address[1:-1]
    if address != "host-gateway" and not is_address(address):
        raise ValueError(f"invalid IP address in add-host: {json_quote(address)}")
    return f"{name}:{address}"


def parse_address(text: str) -> str:
    if not is_address(text.strip()):
        raise ValueError(f"IP address is not correctly formatted: {text}")
    return text.strip()


def parse_domain(text: str) -> str:
    domain = text.strip()
    if domain == ".":
        return domain
    labels = domain.rstrip(".").split(".")
    allowed = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    if not all(label and set(label) <= allowed and label[0] != "-" and label[-1] != "-" for label in labels):
        raise ValueError(f"{domain} is not a valid domain")
    return domain


def parse_link(text: str) -> str:
    """CONTAINER or CONTAINER:ALIAS."""
    parts = text.split(":")
    if not text:
        raise ValueError("empty string specified for links")
    if len(parts) > 2:
        raise ValueError(f"bad format for links: {text}")
    return text


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address (a zone is none of ours)."""
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def csv_fields(text: str) -> list[str]:
    """One line of comma-separated values, quoted ones in double quotes (RFC 4180).

    Raises ValueError for a bad one.
    """
    fields, current, quoted, at = [], "", False, 0
    while at < len(text):
        char = text[at]
        if quoted and char == '"' and text[at + 1 : at + 2] == '"':
            current += '"'
            at += 1
        elif char == '"' and (quoted or not current):
            quoted = not quoted
        elif char == "," and not quoted:
            fields.append(current)
            current = ""
        else:
            current += char
        at += 1
    if quoted:
        raise ValueError(f'parse error on line 1, column {len(text) + 1}: extraneous or missing " in quoted-field')
    return [*fields, current]


def json_quote(text: str) -> str:
    """Go's %q for ordinary text."""
    return quickjson.quote(text)


def environment(files: Iterable[str], values: Iterable[str]) -> list[str]:
    """Files first, then flags."""
    return [line for file in files for line in read_lines(file, os.environ.get)] + list(values)


def labels(files: Iterable[str], values: Iterable[str]) -> dict[str, str]:
    entries = [line for file in files for line in read_lines(file, None)]
    return pairs([*entries, *values])


def read_lines(path: str, lookup: Callable[[str], str | None] | None) -> list[str]:
    """The entries of an env or label file: # comments, no quoting; a bare NAME is looked up, or kept for labels."""
    try:
        content = smallfiles.content(path)
    except OSError as error:
        raise CommandError(f"open {path}: {(error.strerror or str(error)).lower()}", 125) from None
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise CommandError(f"env file {path} contains invalid utf8 bytes at line {number}", 125) from None
    entries = []
    for line in text.split("\n"):
        entry = line.rstrip("\r").lstrip()
        if not entry or entry.startswith("#"):
            continue
        entries += _entry(entry, path, lookup)
    return entries


def _entry(entry: str, path: str, lookup: Callable[[str], str | None] | None) -> list[str]:
    name, equals, value = entry.partition("=")
    if not name:
        raise CommandError(f"no variable name on line '{entry}' of {path}", 125)
    if any(blank in name for blank in " \t"):
        raise CommandError(f"invalid env file ({path}): variable '{name}' contains whitespaces", 125)
    if equals:
        return [f"{name}={value}"]
    if lookup is None:
        return [name]
    found = lookup(name)
    return [] if found is None else [f"{name}={found}"]
