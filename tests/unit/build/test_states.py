"""What is behind a step."""

from __future__ import annotations

import pytest

from corten.build.contract import Layer
from corten.build.state import State
from corten.errors import Invalid
from corten.spec.oci_image import Descriptor


def test_no_more_layers_than_may_lie_upon_another() -> None:
    blob = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "sha256:" + "0" * 64, 1)
    more, nothing = Layer("diff", "tree", "content", 1, blob), Layer("", "", "content", 0, None)
    full = State(diff_ids=("diff",) * 499).over(more, 1, "", "RUN x")
    assert len(full.diff_ids) == 500
    assert full.over(nothing, 1, "", "RUN y").diff_ids == full.diff_ids
    with pytest.raises(Invalid, match="500 layers below it already"):
        full.over(more, 1, "", "RUN x")
