"""Several builds at once, each on a connection and in a thread of its own, shown as one."""

from __future__ import annotations

import queue
import threading

from corten.cli import baketargets, building
from corten.cli.baketargets import needs
from corten.cli.buildoutputs import Output
from corten.cli.buildprogress import follow
from corten.cli.commands.build import COMMAND
from corten.cli.flags import parse
from corten.client import images
from corten.client.errors import ApiError
from corten.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from corten.cli.baketargets import Chosen
    from corten.cli.buildcaches import Caches
    from corten.cli.buildprogress import View
    from corten.cli.session import Session
    from corten.client.api import Json
    from corten.client.conversation import Conversation

    News = tuple[str, Json | Exception | None]  # of a target; None at its end

_AT_ONCE = 16


class Baking:
    """`options` are words of `build` that all targets get."""

    def __init__(self, session: Session, chosen: Chosen, options: list[str]) -> None:
        self._session = session
        self._chosen = chosen
        self._options = options
        self._news: queue.Queue[News] = queue.Queue()
        self._caches: dict[str, Caches | None] = {}
        self._talks: dict[str, Conversation] = {}
        self._waiting = dict(chosen.targets)
        self.made: dict[str, Json] = {}  # what the daemon said, by target

    def run(self, view: View) -> None:
        """Until all are done. The first error ends the others, and is raised: CommandError, ApiError."""
        try:
            follow(self._documents(), view, "")
        finally:
            for talk in self._talks.values():
                talk.hang_up()
            self._remove_unnamed()

    def _documents(self) -> Iterator[Json]:
        """Of all, with their targets in the rows."""
        client = self._session.client
        assert client.version  # which is asked for once, and not by each thread
        running = self._begin()
        while running:
            name, news = self._news.get()
            if isinstance(news, Exception):
                raise news
            if news is None:
                running -= 1
                running += self._begin(running)
            elif found := news.get("aux"):
                self._done(name, found)
            else:
                yield marked(news, name, {made["ID"]: each for each, made in self.made.items()})
        yield {"aux": {"Targets": self.made}}

    def _done(self, name: str, found: Json) -> None:
        self.made[name] = found
        if (caches := self._caches.get(name)) is not None:
            caches.written(found["Answer"])

    def _begin(self, running: int = 0) -> int:
        """Begin those that can; how many."""
        ready = [name for name, target in self._waiting.items() if all(need in self.made for need in needs(target))]
        ready = ready[: _AT_ONCE - running]
        for name in ready:
            asked = self._asked(name, self._waiting.pop(name))
            self._caches[name] = asked.caches
            talk = self._talks[name] = asked.begin(self._session.client)
            threading.Thread(target=self._follow, args=(name, talk), daemon=True).start()
        return len(ready)

    def _asked(self, name: str, target: Json) -> building.Asked:
        contexts = {need: self.made[need]["ID"] for need in needs(target)}
        words = [*self._options, *baketargets.words(name, target, contexts)]
        found = building.asked(self._session, parse(COMMAND.flags, words), target.get("dockerfile-inline"))
        if name not in self._chosen.asked:  # only others begin with it
            found.query = [(key, value) for key, value in found.query if key != "t"]
            found.outputs = []
        elif found.outputs and self._is_needed(name):
            found.outputs.append(Output("image", {}))
        return found

    def _is_needed(self, name: str) -> bool:
        return any(name in needs(target) for target in self._chosen.targets.values())

    def _follow(self, name: str, talk: Conversation) -> None:
        try:
            for document in talk.documents():
                self._news.put((name, document))
                if document.get("errorDetail") or document.get("error"):
                    return
        except (CortenError, OSError) as error:
            self._news.put((name, error))
        finally:
            self._news.put((name, None))

    def _remove_unnamed(self) -> None:
        """Images that only others began with, unless they have a name: an earlier build can have given them one."""
        client = self._session.client
        for id in {found["ID"] for name, found in self.made.items() if name not in self._chosen.asked}:
            try:
                if not images.inspect(client, id).get("RepoTags"):
                    images.remove(client, id, force=False, no_prune=False)
            except ApiError as error:
                if error.status not in (404, 409):  # it is gone, or in use
                    raise


def marked(document: Json, target: str, images: Mapping[str, str]) -> Json:
    """An event with the target in the names and digests of its rows; `images` are those of other targets, by id."""
    found = dict(document)
    for key in ("vertexes", "statuses", "logs", "warnings"):
        if key in found:
            found[key] = [_row(row, target, images) for row in found[key]]
    if detail := found.get("errorDetail"):
        found["errorDetail"] = _row(detail, target, {})
    return found


def _row(row: Json, target: str, images: Mapping[str, str]) -> Json:
    found = dict(row)
    for key in ("digest", "vertex"):
        if found.get(key):
            found[key] = f"{target}:{found[key]}"
    if "inputs" in found:
        found["inputs"] = [f"{target}:{each}" for each in found["inputs"]]
    if name := found.get("name"):
        for id, other in images.items() if "sha256:" in name else ():
            name = name.replace(id, f"target:{other}")
        found["name"] = f"[{target} {name[1:]}" if name.startswith("[") else f"[{target}] {name}"
    return found
