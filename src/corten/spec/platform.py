"""Platforms: `OS[/ARCHITECTURE[/VARIANT]]`, normalised, and which entry of an index fits one.

Names are Go's GOOS and GOARCH (OCI image specification, image-index.md, "platform").
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from corten.errors import Invalid

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
    "armhf": "arm",
    "armv7l": "arm",
    "armv6l": "arm",
    "ppc64el": "ppc64le",
}
# Go's GOOS and GOARCH, of which an image can be (`go tool dist list`, and what it had before).
_OS = frozenset(
    "aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris wasip1 windows".split()
)
_KNOWN = frozenset(
    "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x sparc64 wasm".split()
)
_AS_WELL = {"amd64": ("386",), "arm64": ("arm",)}  # what a machine's processor runs beside its own
_VARIANTS = {"armhf": "v7", "armv7l": "v7", "armv6l": "v6"}


@dataclass(frozen=True, slots=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(p for p in (self.os, self.architecture, self.variant) if p)


@cache
def host() -> Platform:
    return normal("linux", os.uname().machine)


def foreign(platform: Platform | None, here: Platform | None = None) -> bool:
    """Whether the processor of this machine, or of `here`, cannot run what is made for `platform`; None is for any."""
    if platform is None:
        return False
    own = (here or host()).architecture
    return platform.architecture != own and platform.architecture not in _AS_WELL.get(own, ())


def emulated(platform: Platform | None) -> str:
    """The platform as text, where its programs have to be emulated here; "" where they have not, and for what an image
    may say of itself and is no platform."""
    if platform is None or not foreign(platform):
        return ""
    try:
        return str(parse(str(platform)))
    except Invalid:
        return ""


def normal(os: str, architecture: str, variant: str = "") -> Platform:
    """The one spelling of a platform; arm64's only variant v8 and amd64's v1 are left out, arm is v7 by default."""
    os, word, variant = os.lower(), architecture.lower(), variant.lower()
    variant = variant or _VARIANTS.get(word, "")
    architecture = _ARCHITECTURES.get(word, word)
    if variant and not variant.startswith("v") and variant[0].isdigit():
        variant = "v" + variant
    if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    if architecture == "arm" and not variant:
        variant = "v7"
    return Platform("linux" if os == "" else os, architecture, variant)


def parse(text: str) -> Platform:
    """`linux/arm64/v8`, `arm64` or `linux`; what is missing is this machine's.

    Raises Invalid, for systems and architectures that there are not as well: nothing could be found for them.
    """
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(_WORD.fullmatch(p) for p in parts):
        raise Invalid(f"invalid platform: {text[:80]!r}; want os/architecture[/variant]")
    here = host()
    if len(parts) > 1:
        found = normal(*parts)
    elif parts[0].lower() in _OS:
        found = normal(parts[0], here.architecture, here.variant)
    else:
        found = normal("linux", parts[0])
    if found.os not in _OS or found.architecture not in _KNOWN:
        raise Invalid(f"invalid platform: {text[:80]!r}: unknown operating system or architecture")
    return found


def runnable(text: str) -> Platform:
    """`parse`, of an image that is to be unpacked here. Raises Invalid for another operating system's."""
    found = parse(text)
    if found.os != "linux":
        raise Invalid(f"operating system is not supported: {found}")
    return found


def of(document: Any) -> Platform | None:
    """The platform that a descriptor's `platform` object names; None when it names none."""
    if not isinstance(document, dict):
        return None
    words = [document.get(k) or "" for k in ("os", "architecture", "variant")]
    return named(*words) if all(isinstance(w, str) for w in words) else None


def named(os: str, architecture: str, variant: str) -> Platform | None:
    """None without an architecture: that names no platform."""
    return normal(os, architecture, variant) if architecture else None


def described(platform: Platform) -> dict[str, str]:
    """As indexes and clients have it."""
    found = {"architecture": platform.architecture, "os": platform.os}
    return {**found, "variant": platform.variant} if platform.variant else found


def fits(offer: Platform, wanted: Platform) -> bool:
    """Can a machine that asked for `wanted` run `offer`? An arm machine also runs older variants."""
    if (offer.os, offer.architecture) != (wanted.os, wanted.architecture):
        return False
    if offer.architecture == "arm":
        return offer.variant <= wanted.variant
    return offer.variant in ("", wanted.variant)


def choose(offers: Sequence[Platform | None], wanted: Platform) -> int | None:
    """The index of the best fit: the exact one, then the newest variant below it. None when nothing fits."""
    good = [i for i, offer in enumerate(offers) if offer is not None and fits(offer, wanted)]
    exact = [i for i in good if offers[i] == wanted]
    if exact or not good:
        return exact[0] if exact else None
    return max(good, key=lambda i: (str(offers[i]), -i))
