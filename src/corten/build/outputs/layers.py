"""The layers of an image in another form."""

from __future__ import annotations

from collections.abc import Sequence

from corten.build.outputs.contract import Made
from corten.build.outputs.form import Layer
from corten.build.outputs.options import Form


class Recoding:
    """For one build."""

    async def layers(self, image: Made, form: Form) -> Sequence[Layer]:
        """As they are."""
        return [Layer(blob, diff) for blob, diff in zip(image.layers, image.document.diff_ids)]
