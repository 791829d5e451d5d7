"""`corten.build.contract.Looks`: confined processes that look into trees (`corten.supervisor.reading`)."""

from __future__ import annotations

from corten.build.contract import Entry, Tree
from corten.build.work.rooms import Rooms, collected, view_of
from corten.spec.json import Json


class TreeLooks:
    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def stat(self, tree: Tree, path: str) -> Entry:
        return Entry(**await self._rooms.steps.ask(self._request("tree stat", tree, path), []))

    async def entries(self, tree: Tree, path: str) -> list[Entry]:
        found = await self._rooms.steps.ask(self._request("tree list", tree, path), [])
        return [Entry(**entry) for entry in found["entries"]]

    async def content(self, tree: Tree, path: str, offset: int, length: int) -> bytes:
        request = {**self._request("tree content", tree, path), "offset": offset, "length": length}
        async with self._rooms.steps.stream(request, []) as streamed:
            return await collected(streamed)

    def _request(self, what: str, tree: Tree, path: str) -> Json:
        return {"do": what, "tree": view_of(self._rooms, tree).entry(), "path": path}
