"""/images."""

from __future__ import annotations

import asyncio

from aiohttp import web

from corten.api.call import Call, decode_object, json_answer, read_body, upload
from corten.api.routes import Route
from corten.api.shapes import image_for, image_row_for
from corten.api.streams import begin, pieces, progress, progress_to_the_end
from corten.api.versions import MANIFESTS, PLATFORM_AT_HISTORY, PLATFORM_AT_INSPECT, Version
from corten.errors import Invalid
from corten.images import prune as image_prune
from corten.spec.docker.auth import AuthConfig
from corten.spec.platform import parse as parse_platform

_SEARCH_KEYS = frozenset({"is-official", "is-automated", "stars"})
_PRUNE_KEYS = frozenset({"dangling", "until", "label", "label!"})


async def list_images(call: Call) -> web.StreamResponse:
    every, shared = call.flag("all"), call.flag("shared-size")
    images = await asyncio.to_thread(
        call.engine.images.list, call.filters(), every, shared, call.version >= MANIFESTS and call.flag("manifests")
    )
    return json_answer([image_row_for(call.version, image) for image in images])


async def inspect(call: Call) -> web.StreamResponse:
    manifests, asked = call.flag("manifests"), platform(call)
    if manifests and asked:
        raise Invalid("conflicting options: manifests and platform options cannot both be set")
    images, name = call.engine.images, call.path["name"]
    variant = await _variant(call, name, PLATFORM_AT_INSPECT)
    if manifests and call.version >= MANIFESTS:
        return json_answer(image_for(call.version, await asyncio.to_thread(images.inspect, name, variant, True)))
    return json_answer(image_for(call.version, images.inspect(name, variant)))


async def history(call: Call) -> web.StreamResponse:
    name = call.path["name"]
    return json_answer(call.engine.images.history(name, await _variant(call, name, PLATFORM_AT_HISTORY)))


async def _variant(call: Call, name: str, since: Version) -> str:
    """The id of the image for the query's `platform`, "" without one. Raises NotFound."""
    asked = platform(call) if call.version >= since else None
    return (await call.engine.images.provide(name, parse_platform(asked))).id if asked else ""


async def create(call: Call) -> web.StreamResponse:
    """Pull (`fromImage`) or import (`fromSrc`), as a stream of messages."""
    name = call.text("fromImage")
    if name:
        auth = call.registry_auth().to_json()
        source = call.engine.images.pull(name, call.text("tag"), call.text("platform"), auth)
        return await progress(call, source)
    if not (source_name := call.text("fromSrc")):
        raise Invalid("an image to pull (fromImage) or to import (fromSrc) has to be named")
    changes = call.query.getall("changes", [])
    names = (call.text("repo"), call.text("tag"), call.text("message"))
    platform = call.text("platform") or None
    if source_name != "-":
        return await progress(call, call.engine.images.import_(source_name, *names, changes, platform))
    source = call.engine.images.import_(upload(call.request), *names, changes, platform)
    return await progress_to_the_end(call, source, status_200=False)


async def load(call: Call) -> web.StreamResponse:
    """The body is an archive of images; messages while it is read."""
    asked = call.query.getall("platform", []) if call.version >= PLATFORM_AT_HISTORY else []
    wanted = [parse_platform(_text_of(value)) for value in asked if value]
    messages = call.engine.images.load(upload(call.request), call.flag("quiet"), wanted)
    return await progress_to_the_end(call, messages, status_200=True)


async def prune(call: Call) -> web.StreamResponse:
    filters = call.filters()
    filters.check(_PRUNE_KEYS)
    dangling = filters.flag("dangling", True)
    containers = call.engine.containers

    def used(image: str) -> list[str]:
        return [container.record.image for container in containers.of_image(image)]

    deleted = await image_prune.prune(call.engine.images, filters, dangling, used)
    return json_answer({"ImagesDeleted": deleted[0] or None, "SpaceReclaimed": deleted[1]})


async def gc(call: Call) -> web.StreamResponse:
    """POST /images/gc, an addition of ours: what the policy removes, or would. `policy` has other values for once."""
    asked = call.text("policy")
    return json_answer(await call.engine.image_gc.run(call.flag("dry-run"), decode_object(asked.encode() or b"{}")))


async def present(call: Call) -> web.StreamResponse:
    """POST /images/present, an addition of ours: {"ChainIds": [...]} to those of them whose layers are here."""
    chains = decode_object(await read_body(call.request)).get("ChainIds") or []
    if not isinstance(chains, list) or not all(isinstance(chain, str) for chain in chains):
        raise Invalid("ChainIds is no list of digests")
    return json_answer({"Present": await asyncio.to_thread(call.engine.images.present, chains)})


async def tag(call: Call) -> web.StreamResponse:
    call.engine.images.tag(call.path["name"], call.text("repo"), call.text("tag"))
    return web.Response(status=201)


async def remove(call: Call) -> web.StreamResponse:
    wanted = [parse_platform(_text_of(value)) for value in call.query.getall("platforms", [])]
    name, images = call.path["name"], call.engine.images
    return json_answer(await images.remove(name, call.flag("force"), call.flag("noprune"), wanted))


async def save(call: Call) -> web.StreamResponse:
    """One image, or the query's `names`. `since` and `present` are additions of ours: layers to leave out."""
    names = [call.path["name"]] if "name" in call.path else call.query.getall("names", [])
    present = call.query.getall("present", [])
    data = call.engine.images.save(names, platform(call), call.text("since"), present)
    return await pieces(await begin(call, "application/x-tar"), data)


def platform(call: Call) -> str | None:
    """`platform` as the JSON object that API 1.48 sends, or as text; as text, None when it is not given."""
    return _text_of(call.text("platform")) or None


def _text_of(value: str) -> str:
    if not value.startswith("{"):
        return value
    found = decode_object(value.encode())
    parts = [found.get("os") or "linux", found.get("architecture") or "", found.get("variant") or ""]
    return "/".join(str(part) for part in parts if part)


async def push(call: Call) -> web.StreamResponse:
    auth = call.registry_auth().to_json()
    return await progress(call, call.engine.images.push(call.path["name"], call.text("tag"), auth, platform(call)))


async def login(call: Call) -> web.StreamResponse:
    """POST /auth."""
    token = await call.engine.images.login((await call.body(AuthConfig)).to_json())
    return json_answer({"Status": "Login Succeeded", "IdentityToken": token})


async def search(call: Call) -> web.StreamResponse:
    filters = call.filters()
    filters.check(_SEARCH_KEYS)
    limit = call.integer("limit", 0) or 0
    found = await call.engine.images.search(call.text("term"), limit, filters, call.registry_auth().to_json())
    return json_answer(found)


ROUTES = (
    Route("GET", "/images/json", list_images),
    Route("POST", "/images/create", create, stream=True),
    Route("POST", "/images/load", load, stream=True),
    Route("POST", "/images/prune", prune),
    Route("POST", "/images/gc", gc),
    Route("POST", "/images/present", present),
    Route("GET", "/images/search", search),
    Route("GET", "/images/get", save, stream=True),
    Route("GET", "/images/{name:all}/get", save, stream=True),
    Route("POST", "/images/{name:all}/push", push, stream=True),
    Route("POST", "/auth", login),
    Route("GET", "/images/{name:all}/json", inspect),
    Route("GET", "/images/{name:all}/history", history),
    Route("POST", "/images/{name:all}/tag", tag),
    Route("DELETE", "/images/{name:all}", remove),
)
