"""What every inspect does: find each object, print all of them as one JSON list or through a template each."""

from __future__ import annotations

import json

from corten.cli.each import daemon_message
from corten.cli.errors import CommandError
from corten.cli.indent import indent
from corten.cli.output import draw, err, out
from corten.client.errors import ApiError
from corten.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.cli.gotemplate.evaluate import Template

    # Takes a name, answers (kind of object, its JSON as the daemon wrote it).
    Find = Callable[[str], tuple[str, bytes]]


def inspect(names: list[str], template: str, find: Find) -> int:
    """Print what was found, then say what was not; 1 when something was not. Raises CommandError for a bad template."""
    shower = _Shower(template)
    failures = []
    for name in names:
        try:
            kind, document = find(name)
            shower.add(kind, document)
        except ApiError as error:
            failures.append(daemon_message(error))
        except (CommandError, Invalid) as error:
            failures.append(str(error))
            if shower.broken:
                break
    (draw if shower.templated else out)(shower.text())
    if failures:
        err("\n".join(failures))
        return 1
    return 0


class _Shower:
    """Gathers documents and makes the text of them."""

    def __init__(self, template: str) -> None:
        self._plain = template == ""
        self._json = template == "json"
        self.templated = not (self._plain or self._json)
        self._documents: list[str] = []
        self._source = template
        self.broken = False
        self._lenient: Template | None = None
        self._strict: Template | None = None
        if self.templated:
            self._lenient, self._strict = self._compiled()

    def _compiled(self) -> tuple[Template, Template]:
        from corten.cli.gotemplate import documents
        from corten.cli.gotemplate.errors import ParseError

        try:
            return documents.compile_(self._source), documents.compile_(self._source, strict=True)
        except ParseError as error:
            raise CommandError(f"template parsing error: {error}", 64) from None

    def add(self, kind: str, document: bytes) -> None:
        text = document.decode("utf-8", "surrogateescape").strip()
        if self._lenient is None or self._strict is None:
            self._documents.append(text)
            return
        from corten.cli.formats.typed import typed
        from corten.cli.gotemplate.errors import ExecError

        value: Any = json.loads(text)
        try:
            self._documents.append(self._lenient.execute(typed(kind, value)))
        except ExecError:
            # Docker tries its typed object first and then the bare JSON; the second one's complaint is shown.
            try:
                self._documents.append(self._strict.execute(value))
            except ExecError as error:
                self.broken = True
                raise CommandError(f"template parsing error: {error}") from None

    def text(self) -> str:
        if self._plain:
            return indent("[" + ",".join(self._documents) + "]")
        if self._json:
            return "[" + ",".join(self._documents) + "]"
        return "\n".join(self._documents)
