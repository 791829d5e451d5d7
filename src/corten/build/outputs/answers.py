"""An image as it is described to clients: BuildKit's ExporterResponse, which becomes --metadata-file and --iidfile."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec

from corten.build.outputs.contract import Content
from corten.build.outputs.form import descriptor
from corten.build.outputs.options import Form

DIGEST, CONFIG = "containerimage.digest", "containerimage.config.digest"
DESCRIPTOR, NAME = "containerimage.descriptor", "image.name"


def of(found: Content, form: Form, names: Sequence[str], id: str = "") -> dict[str, str]:
    """`names` are those that it got. `id` is that of an image that went into the image store and nowhere else: clients
    find it by what is said of its digest (-q, --iidfile)."""
    answer = {DIGEST: id or found.root.digest}
    if len(found.images) == 1:
        answer[CONFIG] = found.images[0].config.digest
    described = msgspec.json.encode(descriptor(found, form))
    answer[DESCRIPTOR] = base64.b64encode(described).decode()
    if names:
        answer[NAME] = ",".join(names)
    return answer
