"""How this machine gets packages, for builds: files that are mounted as secrets, and are in no image."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_INSIDE = "/etc/ssl/machine.crt"  # where steps mount them: a package writes to the usual place


def secrets(place: Path) -> list[str]:
    """Options of a build: the secrets apt, pip, npm and certificates, as files in `place`."""
    files = {"apt": _apt(), "pip": _pip(), "npm": _npm()}
    for name, text in files.items():
        (place / name).write_text(text)
    found = {name: place / name for name in files} | ({"certificates": CERTIFICATES} if CERTIFICATES.exists() else {})
    return [word for name, path in found.items() for word in ("--secret", f"id={name},src={path}")]


def _apt() -> str:
    """Proxies and checks; where packages are is in the image, as debootstrap had it."""
    dumped = subprocess.run(["apt-config", "dump", "Acquire"], check=True, capture_output=True, text=True).stdout
    return dumped + (f'Acquire::https::CaInfo "{_INSIDE}";\n' if CERTIFICATES.exists() else "")


def _pip() -> str:
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    found = {"cert": _INSIDE} if CERTIFICATES.exists() else {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        if (name := key.rpartition(".")[2]) in ("index-url", "extra-index-url", "proxy", "trusted-host"):
            found[name] = value.strip("'")
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in found.items())


def _npm() -> str:
    own = Path.home() / ".npmrc"
    lines = own.read_text().splitlines() if own.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in ("cafile", "nodedir")]
    if (registry := os.environ.get("NPM_CONFIG_REGISTRY")) is not None:
        kept.append(f"registry={registry}")
    return "\n".join([*kept, f"cafile={_INSIDE}" if CERTIFICATES.exists() else "", ""])
