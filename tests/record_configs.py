"""Load the configurations of tests/image_parts/strange_configs.py into a dockerd and keep what it says as JSON.

    python tests/record_configs.py /path/to/docker.sock tests/unit/spec/dockerd_configs.json

The dockerd should be a private one: images are loaded and removed. An entry is {"error": text}, or what inspect and
history show of the image.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from e2e_parts.http import Connection
from image_parts.strange_configs import archive, documents

Json = dict[str, Any]
SHOWN = ("Created", "Architecture", "Os", "Variant", "OsVersion", "Author", "DockerVersion", "Comment")


def answer(connection: Connection, name: str, document: bytes) -> Json:
    """What a daemon makes of one configuration."""
    tag = f"odd/{name}:1"
    body = archive(document, tag)
    _, said = connection.ask("POST", "/images/load?quiet=1", body, Content_Type="application/x-tar")
    failed: str | None = said.get("error") or said.get("message")
    if failed is not None:
        return {"error": failed[:300]}
    status, found = connection.ask("GET", f"/images/{tag}/json")
    assert status == 200, found
    _, history = connection.ask("GET", f"/images/{tag}/history")
    connection.ask("DELETE", f"/images/{tag}")
    config = {key: value for key, value in (found["Config"] or {}).items() if value}
    rows = [[row["CreatedBy"], row["Comment"], row["Size"]] for row in history]
    return {**{key: found[key] for key in SHOWN if found.get(key)}, "Config": config, "history": rows}


def main(socket: str, path: str) -> None:
    with Connection(Path(socket)) as connection:
        found = {name: answer(connection, name, document) for name, document in documents()}
    lines = (f"{json.dumps(name)}: {json.dumps(said, sort_keys=True)}" for name, said in found.items())
    Path(path).write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
