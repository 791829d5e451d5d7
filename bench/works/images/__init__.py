"""Large images: pulled, loaded, saved, pushed and served. Both are made beforehand (`bench.kept`)."""

from __future__ import annotations

from bench import kept
from bench.stage import Work
from bench.works.images import archives, peak, pulls, pushes, serving

_ORDER = 3  # the daemons are full of them afterwards
_MADE = tuple(kept.LAYERS)

ALL = (
    Work("image-pull", pulls.measure, _ORDER, _MADE),
    Work("image-save", archives.save, _ORDER, _MADE),
    Work("image-push", pushes.measure, _ORDER, _MADE),
    Work("image-load", archives.load, _ORDER, _MADE),
    Work("image-memory", peak.measure, _ORDER, ("twofiles",)),
    Work("registry", serving.measure, _ORDER, ("twofiles",)),
)
