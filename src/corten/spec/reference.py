"""Image references: `[DOMAIN/]PATH[:TAG][@DIGEST]`, with Docker's familiar names.

The grammar is that of the distribution project (reference/regexp.go and normalize.go there):

    familiar                  canonical
    busybox                   docker.io/library/busybox
    user/app:1                docker.io/user/app:1
    localhost:5000/a/b        localhost:5000/a/b
    index.docker.io/busybox   docker.io/library/busybox

The first component is a domain when it has a dot, a colon or an upper-case letter, or is `localhost`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from corten.errors import Invalid
from corten.spec import digest as digests

DEFAULT_DOMAIN = "docker.io"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
MAX_NAME = 255

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,251}[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]{{2,45}}\])(?::[0-9]{{1,5}})?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)
_HEX64 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A canonical reference. `tag` and `digest` may both be there; the digest then decides."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        return self.path.removeprefix(DEFAULT_NAMESPACE + "/") if self.path.count("/") == 1 else self.path

    @property
    def tagged(self) -> Reference:
        """The same with the default tag when it has neither a tag nor a digest."""
        return self if self.tag or self.digest else Reference(self.domain, self.path, DEFAULT_TAG)

    @property
    def familiar(self) -> str:
        return self.familiar_name + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def with_tag(self, tag: str) -> Reference:
        return Reference(self.domain, self.path, check_tag(tag))

    def with_digest(self, digest: str) -> Reference:
        return Reference(self.domain, self.path, "", digests.check(digest))


def parse(text: str) -> Reference:
    """The canonical form of what a person wrote. Raises Invalid, with Docker's words where scripts know them."""
    if not text or len(text) > 1024:
        raise Invalid(f"invalid reference format: {text[:80]!r}")
    if _HEX64.fullmatch(text):
        raise Invalid(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, at, digest = text.partition("@")
    if at and not digests.is_digest(digest):
        raise Invalid(f"invalid reference format: {text!r}")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        head, tag = rest, ""
    elif not _TAG.fullmatch(tag):
        raise Invalid(f"invalid reference format: {text!r}")
    domain, path = _split_domain(head)
    if path != path.lower():
        raise Invalid(f"invalid reference format: repository name ({path}) must be lowercase")
    if not _DOMAIN.fullmatch(domain) or not _PATH.fullmatch(path):
        raise Invalid(f"invalid reference format: {text!r}")
    if len(domain) + 1 + len(path) > MAX_NAME:
        raise Invalid("repository name must not be more than 255 characters")
    return Reference(domain, path, tag, digest)


def check_tag(tag: str) -> str:
    """`tag` itself when it is one."""
    if not _TAG.fullmatch(tag):
        raise Invalid(f"invalid tag format: {tag[:80]!r}")
    return tag


def check_domain(domain: str) -> str:
    """`domain` itself when it can be that of a registry, with or without a port."""
    if not _DOMAIN.fullmatch(domain):
        raise Invalid(f"invalid registry address: {domain[:80]!r}")
    return domain


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not (set(first) & set(".:") or first == "localhost" or first != first.lower()):
        domain, path = DEFAULT_DOMAIN, name
    else:
        domain, path = first, rest
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"{DEFAULT_NAMESPACE}/{path}"
    return domain, path


# References as users write them are compared without parsing: for lists and events of thousands.


def familiar(reference: str) -> str:
    """The short form that Docker shows: without docker.io and library, with a tag unless there is a digest."""
    name = reference.removeprefix("docker.io/").removeprefix("index.docker.io/").removeprefix("library/")
    if "@" in name or name.startswith("sha256:") or ":" in name.rpartition("/")[2]:
        return name
    return f"{name}:latest"


def has_tag(reference: str) -> bool:
    """Or a digest."""
    return ":" in reference.rpartition("/")[2] or "@" in reference


def repository_of(reference: str) -> str:
    """In its short form."""
    short = familiar(reference).partition("@")[0]
    head, colon, tag = short.rpartition(":")
    return head if colon and "/" not in tag else short
