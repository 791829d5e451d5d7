"""runtime.v1.ImageService."""

from __future__ import annotations

import base64
import binascii
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from corten.cri.daemon import Daemon, part
from corten.cri.runtime import function
from corten.errors import Failed, Invalid, NotFound
from corten.http2.grpc import Function
from corten.spec import user_numbers
from corten.spec.protobuf import cri
from corten.spec.protobuf.codec import Message

PREFIX = "/runtime.v1.ImageService/"
Json = dict[str, Any]


class Images:
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def functions(self) -> dict[str, Function]:
        table: Mapping[str, Function] = {
            "ListImages": function(cri.ListImagesRequest, self.list_images),
            "ImageStatus": function(cri.ImageStatusRequest, self.status),
            "PullImage": function(cri.PullImageRequest, self.pull),
            "RemoveImage": function(cri.RemoveImageRequest, self.remove),
            "ImageFsInfo": function(cri.Empty, self.file_system),
        }
        return {PREFIX + name: served for name, served in table.items()}

    async def list_images(self, request: cri.ListImagesRequest) -> Message:
        asked = request.filter.image.image if request.filter and request.filter.image else ""
        if asked:
            found = await self._inspected(asked)
            return cri.ListImagesResponse([_image(found)] if found else [])
        listed = await self._daemon.ask("GET", "/images/json", list[dict[str, Any]], query={"digests": "1"})
        return cri.ListImagesResponse([_image(each) for each in listed])

    async def status(self, request: cri.ImageStatusRequest) -> Message:
        """An image that is not there is no error."""
        found = await self._inspected(_named(request.image))
        if found is None:
            return cri.ImageStatusResponse()
        info = {}
        if request.verbose:
            platform = {"architecture": found.get("Architecture"), "os": found.get("Os")}
            info["info"] = json.dumps({"imageSpec": {"config": found.get("Config") or {}, **platform}})
        return cri.ImageStatusResponse(_image(found), info)

    async def _inspected(self, name: str) -> Json | None:
        try:
            found = await self._daemon.ask("GET", f"/images/{part(name)}/json", dict[str, Any])
        except NotFound:
            return None
        return found

    async def pull(self, request: cri.PullImageRequest) -> Message:
        name = _named(request.image)
        query = {"fromImage": name}
        if "@" not in name and ":" not in name.rpartition("/")[2]:
            query["tag"] = "latest"
        headers = _authorization(request.auth)
        async for message in self._daemon.messages("POST", "/images/create", query, headers):
            if error := message.get("error"):
                raise Failed(str(error))
        found = await self._inspected(name)
        if found is None:
            raise NotFound(f"the image {name} was removed while it was pulled")
        return cri.PullImageResponse(str(found["Id"]))

    async def remove(self, request: cri.RemoveImageRequest) -> Message:
        """With all its names."""
        found = await self._inspected(_named(request.image))
        if found is not None:
            with suppress(NotFound):
                await self._daemon.do("DELETE", f"/images/{found['Id']}", query={"force": "1"})
        return cri.Empty()

    async def file_system(self, _: cri.Empty) -> Message:
        root = str((await self._daemon.ask("GET", "/info", dict[str, Any]))["DockerRootDir"])
        used = await self._daemon.ask("GET", "/system/df", dict[str, Any], query={"type": "image"})
        size = int(used.get("LayersSize") or 0)
        state = os.statvfs(root)
        usage = cri.FilesystemUsage(
            time.time_ns(),
            cri.FilesystemIdentifier(root),
            cri.UInt64Value(size),
            cri.UInt64Value(state.f_files - state.f_ffree),
        )
        return cri.ImageFsInfoResponse([usage], [usage])


def _named(image: cri.ImageSpec | None) -> str:
    if image is None or not image.image:
        raise Invalid("an image has to be named")
    return image.image


def _image(found: Json) -> cri.Image:
    user = str((found.get("Config") or {}).get("User") or "").partition(":")[0]
    number = user_numbers.number(user or "0")  # an image may write anything there, and the list is of all
    tags = [full(tag) for tag in found.get("RepoTags") or () if tag != "<none>:<none>"]
    digests = [full(digest) for digest in found.get("RepoDigests") or () if not digest.startswith("<none>")]
    return cri.Image(
        id=str(found["Id"]),
        repo_tags=tags,
        repo_digests=digests,
        size=int(found.get("Size") or 0),
        uid=cri.Int64Value(number) if number is not None else None,
        username=user if number is None else "",
        spec=cri.ImageSpec(image=str(found["Id"])),
    )


def full(name: str) -> str:
    """A name as Docker shows it, with the registry that it does not say."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def _authorization(auth: cri.AuthConfig | None) -> dict[str, str]:
    if auth is None:
        return {}
    user, password = auth.username, auth.password
    if auth.auth and not user:
        try:
            user, _, password = base64.b64decode(auth.auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Invalid("the credentials are not base64") from None
    values = {
        "username": user,
        "password": password.rstrip("\0"),
        "serveraddress": auth.server_address,
        "identitytoken": auth.identity_token,
        "registrytoken": auth.registry_token,
    }
    given = json.dumps({key: value for key, value in values.items() if value})
    return {"X-Registry-Auth": base64.urlsafe_b64encode(given.encode()).decode()}
