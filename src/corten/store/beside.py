"""Pieces of a stream that a second thread works on, while the first goes on to the next one.

    with Beside(lambda piece: out.write(encoder.feed(piece))) as beside:
        for piece in pieces:
            beside.put(piece)
            hash_.update(piece)

Compressing and hashing release the interpreter lock, so a layer is done in the time of the longer of the two.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType

from corten.errors import Exhausted

Piece = bytes | bytearray
_AHEAD = 2  # pieces that may wait


class Beside:
    """`work` gets the pieces in their order. Its error is raised by the next `put`, or at the end of the block, and
    nothing is worked on after it. When the block raises, what waits is not worked on either."""

    def __init__(self, work: Callable[[Piece], object]) -> None:
        self._work = work
        self._pieces: queue.Queue[Piece | None] = queue.Queue(_AHEAD)
        self._error: BaseException | None = None
        self._left = False
        self._thread = threading.Thread(target=self._run, name="beside", daemon=True)

    def put(self, piece: Piece) -> None:
        """Hand over a piece, and wait while `_AHEAD` of them wait. It must not change any more."""
        if self._error is not None:
            raise self._error
        self._pieces.put(piece)

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if self._error is None and not self._left:
                try:
                    self._work(piece)
                except BaseException as error:
                    self._error = error

    def __enter__(self) -> Beside:
        """Raises Exhausted when the machine has no thread left."""
        try:
            self._thread.start()
        except RuntimeError as error:
            raise Exhausted(f"the machine has no thread left: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = error is not None
        self._pieces.put(None)
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error
