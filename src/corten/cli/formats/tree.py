"""`images --tree`: each image with the platforms that are there."""

from __future__ import annotations

from corten.cli.columns import align
from corten.cli.formats.image import NONE
from corten.cli.formats.listing import short_id
from corten.cli.output import out
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def show(images: list[dict[str, Any]]) -> None:
    lines = ["IMAGE\tID\tDISK USAGE\tCONTAINERS"]
    for image in images:
        names = image.get("RepoTags") or [NONE]
        containers = image.get("Containers", -1)
        counted = "" if containers == -1 else str(containers)
        lines += [f"{name}\t\t\t" for name in names[:-1]]
        lines.append(f"{names[-1]}\t{short_id(image['Id'])}\t{human_size(image.get('Size') or 0, 3)}\t{counted}")
        lines += _platforms(image)
    out(align("\n".join(lines)))


def _platforms(image: dict[str, Any]) -> list[str]:
    lines = []
    manifests = [one for one in image.get("Manifests") or () if one.get("Kind") == "image"]
    for index, manifest in enumerate(manifests):
        branch = "└─" if index == len(manifests) - 1 else "├─"
        platform = (manifest.get("ImageData") or {}).get("Platform") or {}
        name = "/".join(filter(None, (platform.get("os"), platform.get("architecture"), platform.get("variant"))))
        size = human_size((manifest.get("Size") or {}).get("Total") or 0, 3)
        lines.append(f"{branch} {name}\t{short_id(manifest.get('ID', ''))}\t{size}\t")
    return lines
