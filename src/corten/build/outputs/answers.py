"""What a client is told of an image: BuildKit's ExporterResponse, which becomes --metadata-file and --iidfile."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec

from corten.build.outputs.contract import Content
from corten.build.outputs.form import descriptor
from corten.build.outputs.options import Form

DIGEST, CONFIG = "containerimage.digest", "containerimage.config.digest"
DESCRIPTOR, NAME = "containerimage.descriptor", "image.name"


def of(found: Content, form: Form, names: Sequence[str]) -> dict[str, str]:
    """`names` are those that it got."""
    answer = {DIGEST: found.root.digest}
    if len(found.images) == 1:
        answer[CONFIG] = found.images[0].config.digest
    described = msgspec.json.encode(descriptor(found, form))
    answer[DESCRIPTOR] = base64.b64encode(described).decode()
    if names:
        answer[NAME] = ",".join(names)
    return answer
