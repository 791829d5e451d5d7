"""Text from elsewhere in a log."""

from __future__ import annotations

import io
import logging

from corten.aio.logs import Lines


def test_text_from_elsewhere_makes_no_line_and_gives_no_orders() -> None:
    written = io.StringIO()
    handler, log = logging.StreamHandler(written), logging.Logger("a test")
    handler.setFormatter(Lines("%(levelname)s %(name)s: %(message)s"))
    log.addHandler(handler)
    hostile = "no\n2026-01-01 INFO cortend: daemon is ready\x1b]0;title\x07\x9b2J\r\u00e9\t."
    log.warning("a registry says: %s", hostile)
    seen = "no\\n2026-01-01 INFO cortend: daemon is ready\\x1b]0;title\\x07\\x9b2J\\x0d\u00e9\t."
    assert written.getvalue() == f"WARNING a test: a registry says: {seen}\n"
    try:
        raise ValueError(hostile)
    except ValueError:
        log.exception("a defect")
    said = written.getvalue().partition("a defect\n")[2]
    assert said.startswith("Traceback (most recent call last):\n") and not {"\x1b", "\x9b", "\x07"} & {*said}
