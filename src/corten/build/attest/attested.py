"""What is attested of a build's result, when its steps are done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from corten.build.attest import provenance, sbom
from corten.build.attest.options import Attestations
from corten.build.attest.provenance import Course
from corten.build.contract import Trace, Worker
from corten.build.outputs.contract import Predicate, Result
from corten.build.plan import variables
from corten.build.plan.keys import digest
from corten.build.vertices import vertex
from corten.spec import slsa, spdx
from corten.spec.platform import Platform
from corten.spec.reference import familiar

_FILE = "sbom.spdx.json"


async def attested(
    found: Result, asked: Attestations, courses: Sequence[Course], worker: Worker, trace: Trace
) -> Result:
    """The result with what was asked for; `courses` are those of its images. Raises what the worker raises."""
    images = [
        replace(image, predicates=await _predicates(asked, course, image.platform, worker, trace))
        for image, course in zip(found.images, courses, strict=True)
    ]
    return replace(found, images=tuple(images))


async def _predicates(
    asked: Attestations, course: Course, platform: Platform, worker: Worker, trace: Trace
) -> tuple[Predicate, ...]:
    found = []
    if asked.sbom:
        found.append(await _sbom(course, platform, worker, trace))
    if (options := asked.provenance) is not None:
        body = await asyncio.to_thread(lambda: msgspec.json.encode(provenance.predicate(course, options)))
        found.append(Predicate(slsa.PREDICATE[options.version], body, options.file, options.inline))
    return tuple(found)


async def _sbom(course: Course, platform: Platform, worker: Worker, trace: Trace) -> Predicate:
    state = course.states[course.plan.top]
    async with vertex(trace, digest("sbom", str(platform)), f"[{platform}] generating sbom"):
        inventory = await worker.packages(state.diff_ids)
        name = _name(course.request.tags)
        epoch = variables.epoch(course.request.arguments)
        body = await asyncio.to_thread(sbom.document, inventory, name, state.top or "", epoch)
    return Predicate(spdx.PREDICATE, body, _FILE)


def _name(tags: Sequence[str]) -> str:
    return familiar(tags[0]) if tags else "sbom"
