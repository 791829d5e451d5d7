"""Texts that look like secrets: what each kind of token, key or password looks like, by its publisher's own form.

The names of the kinds are those that Docker Compose shows. It is a help against mistakes, not a proof.
"""

from __future__ import annotations

import math
import re

import msgspec

from corten.compose.document.nodes import Mapping, Scalar, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from corten.compose.document.nodes import Node

MOST = 100  # findings of a project
LONGEST = 64 << 10  # characters of a value that are looked at
_BITS = 4.0  # entropy of a character, above which the value of a suspicious name is none that a person would choose
_LEAST = 16  # characters of such a value

_KINDS = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("JFrog Artifactory credentials", r"\bAKC[A-Za-z0-9]{10,}\b"),
        ("AWS Client ID", r"\b(?:A3T[A-Z0-9]|AKIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ASIA)[A-Z0-9]{16}\b"),
        ("AWS Secret Key", r"(?i:aws).{0,20}?['\"][0-9a-zA-Z/+]{40}['\"]"),
        ("Amazon Marketplace Web Service (MWS) Key", r"\bamzn\.mws\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"),
        ("Azure Storage Account access key", r"AccountKey=[A-Za-z0-9+/]{86}=="),
        ("HTTP Basic Authentication", r"\bBasic [A-Za-z0-9+/]{4,}={0,2}(?![A-Za-z0-9])"),
        ("HTTP Bearer Authentication", r"\bBearer [A-Za-z0-9._~+/-]{4,}={0,2}(?![A-Za-z0-9])"),
        ("Github authentication", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
        ("JSON Web Token", r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
        ("Mailchimp API Key", r"\b[0-9a-f]{32}-us[0-9]{1,2}\b"),
        ("npm auth token", r"//[^\s/]+/:_authToken=\S{8,}"),
        ("Private Key", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"),
        ("Sendgrid API key", r"\bSG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}"),
        (
            "Slack token",
            r"\bxox[a-z]-[A-Za-z0-9-]{10,}|\bxapp-[0-9]-[A-Za-z0-9-]{20,}|hooks\.slack\.com/services/\S{20,}",
        ),
        ("Square authentication", r"\bsq0(?:atp|csp)-[0-9A-Za-z\\_-]{22,}"),
        ("Stripe API key", r"\b[rs]k_live_[0-9A-Za-z]{16,}"),
        ("Twilio authentication", r"\b(?:AC|SK)[0-9a-f]{32}\b"),
        ("URL with password", r"\b[a-z][a-z0-9+.-]{0,30}://[^\s:/?#]{1,200}:[^\s/?#@$]{1,200}@[^\s/]"),
    )
)
KEYWORD = "Keyword Detector"
_SUSPICIOUS = re.compile(r"(?i)passw|passphrase|secret|token|api_?key|access_?key|private_?key|credential")


class Finding(msgspec.Struct, frozen=True, order=True):
    """`key` says where: services.web.environment.NAME, or a file's path."""

    kind: str
    key: str
    value: str

    @property
    def shown(self) -> str:
        """Enough of the value to know it by."""
        return f"{self.value[:6]}..." if len(self.value) > 8 else "..."


def find(pairs: Iterable[tuple[str, str]]) -> list[Finding]:
    """In these values, each with its name; MOST of them at most."""
    found: dict[str, Finding] = {}
    for key, value in pairs:
        kind = _kind(key.rpartition(".")[2], value[:LONGEST])
        if kind and len(found) < MOST:
            found.setdefault(key, Finding(kind, key, value))
    return sorted(found.values())


def _kind(name: str, value: str) -> str:
    for kind, pattern in _KINDS:
        if pattern.search(value):
            return kind
    suspicious = _SUSPICIOUS.search(name) and len(value) >= _LEAST and not value.startswith(("/", "$", "./"))
    return KEYWORD if suspicious and _entropy(value) > _BITS else ""


def _entropy(text: str) -> float:
    """Bits a character (Shannon)."""
    shares = [text.count(character) / len(text) for character in set(text)]
    return -sum(share * math.log2(share) for share in shares)


def texts(root: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """The scalars of a document, each with its path; of a list's NAME=VALUE the name is in the path. An alias is where
    it leads, which is looked at there."""
    waiting: list[tuple[Node, tuple[str, ...]]] = [(root, path)]
    seen: set[int] = set()
    while waiting:
        node, where = waiting.pop()
        if isinstance(node, Scalar):
            yield ".".join(where), node.text
        elif id(node) in seen:
            continue
        elif isinstance(node, Mapping):
            seen.add(id(node))
            waiting += [(value, (*where, key.text)) for key, value in node.items if isinstance(key, Scalar)]
        else:
            seen.add(id(node))
            yield from _listed(node, where, waiting)


def _listed(
    node: Sequence, where: tuple[str, ...], waiting: list[tuple[Node, tuple[str, ...]]]
) -> Iterator[tuple[str, str]]:
    for at, item in enumerate(node.items):
        if not isinstance(item, Scalar):
            waiting.append((item, (*where, str(at))))
            continue
        name, equals, value = item.text.partition("=")
        named = bool(equals) and name.replace("_", "").replace("-", "").replace(".", "").isalnum()
        yield (".".join((*where, name)), value) if named else (".".join((*where, str(at))), item.text)
