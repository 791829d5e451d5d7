"""Licenses in the words of package managers as SPDX's expressions (SPDX 2.3, annex D)."""

from __future__ import annotations

import re

from corten.spec.spdx import NO_ASSERTION, ExtractedLicense

_GNU = re.compile(r"(a|l)?gpl(?:-|v)?([123](?:\.\d)?)(?:\.0)?(\+|-or-later|-only)?\Z")
_GNU_NAMES = "GPL-1.0 GPL-2.0 GPL-3.0 LGPL-2.0 LGPL-2.1 LGPL-3.0 AGPL-1.0 AGPL-3.0".split()
_KNOWN = {
    name.lower(): name
    for name in (
        "0BSD AFL-2.1 Apache-1.1 Apache-2.0 Artistic-1.0 Artistic-1.0-Perl Artistic-2.0 Beerware BlueOak-1.0.0 "
        "BSD-1-Clause BSD-2-Clause BSD-3-Clause BSD-4-Clause BSD-4-Clause-UC BSL-1.0 bzip2-1.0.6 CC0-1.0 CC-BY-3.0 "
        "CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CDDL-1.0 curl EPL-1.0 EPL-2.0 EUPL-1.2 FSFAP FSFUL FSFULLR FTL "
        "GFDL-1.1-or-later GFDL-1.2-only GFDL-1.2-or-later GFDL-1.3-only GFDL-1.3-or-later HPND ICU IJG ISC Libpng "
        "MIT MIT-0 MIT-CMU MPL-1.0 MPL-1.1 MPL-2.0 NCSA OFL-1.1 OLDAP-2.8 OpenSSL PostgreSQL PSF-2.0 Python-2.0 "
        "Python-2.0.1 Ruby SSLeay TCL Unicode-3.0 Unicode-DFS-2016 Unlicense UPL-1.0 Vim W3C WTFPL X11 Zlib ZPL-2.1"
    ).split()
}
_EXCEPTIONS = {
    name.lower(): name
    for name in (
        "Autoconf-exception-2.0 Autoconf-exception-3.0 Bison-exception-2.2 Classpath-exception-2.0 "
        "GCC-exception-2.0 GCC-exception-3.1 Libtool-exception Linux-syscall-note LLVM-exception "
        "OpenSSL-exception openvpn-openssl-exception"
    ).split()
}
_OTHER_WORDS = {
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "bsd-2": "BSD-2-Clause",
    "bsd-3": "BSD-3-Clause",
    "expat": "MIT",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "the mit license": "MIT",
    "the unlicense (unlicense)": "Unlicense",
}
_WORDS = re.compile(r"[()]|[^\s()]+")
_OPERATORS = ("AND", "OR", "WITH")
_AFTER_NAMES = (*_OPERATORS, ")")


class Licenses:
    """Of one document. `extracted` are those that SPDX has no name for, or that this table does not know: they are
    given one, and their words are kept."""

    def __init__(self) -> None:
        self._extracted: dict[str, str] = {}

    @property
    def extracted(self) -> list[ExtractedLicense]:
        return [ExtractedLicense(id, text) for id, text in sorted(self._extracted.items())]

    def expression(self, text: str) -> str:
        """NOASSERTION for nothing."""
        if not text:
            return NO_ASSERTION
        if one := _known(text):
            return one
        words = _WORDS.findall(text)
        shaped = [word.upper() if word.upper() in _OPERATORS else word for word in words]
        if not _is_expression(shaped):
            return self._reference(text)
        return _joined([self._word(word, before) for word, before in zip(shaped, ["", *shaped])])

    def _word(self, word: str, before: str) -> str:
        if word in _OPERATORS or word in "()":
            return word
        if before == "WITH":
            return _EXCEPTIONS[word.lower()]
        return _known(word) or self._reference(word)

    def _reference(self, text: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-") or "other"
        id = name = f"LicenseRef-{plain[:64]}"
        number = 1
        while self._extracted.setdefault(id, text) != text:
            number += 1
            id = f"{name}-{number}"
        return id


def _known(text: str) -> str:
    plain = text.lower()
    if found := _GNU.match(plain):
        kind, version, later = found.groups()
        name = f"{(kind or '').upper()}GPL-{version if '.' in version else version + '.0'}"
        if name in _GNU_NAMES:
            return f"{name}-or-later" if later in ("+", "-or-later") else f"{name}-only"
    return _KNOWN.get(plain) or _OTHER_WORDS.get(plain, "")


def _is_expression(words: list[str]) -> bool:
    """Whether names and operators take turns, and parentheses have their other half."""
    depth, wanted = 0, True  # a name, or what stands for one
    for before, word in zip(["", *words], words):
        depth += (word == "(") - (word == ")")
        if depth < 0 or wanted == (word in _AFTER_NAMES) or (before == "WITH" and word.lower() not in _EXCEPTIONS):
            return False
        wanted = word == "(" or word in _OPERATORS
    return depth == 0 and not wanted


def _joined(words: list[str]) -> str:
    return " ".join(words).replace("( ", "(").replace(" )", ")")
