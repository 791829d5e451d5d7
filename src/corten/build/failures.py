"""What is said of a step that failed."""

from __future__ import annotations

from collections.abc import Sequence

from corten.build.contract import CopyStep, RunStep, SourceMissing, StepFailed
from corten.build.dockerfile import Definition
from corten.build.plan.graph import Fetched, Local, Step
from corten.errors import CortenError
from corten.spec.dockerfile.texts import quoted


class Failures:
    """Of one build: with the lines of its Dockerfile, in the words of BuildKit or of the classic builder."""

    def __init__(self, definition: Definition, classic: bool) -> None:
        self._definition = definition
        self._sentence = _returned if classic else _did_not_complete

    def of(self, node: Local | Fetched | Step, error: Exception) -> Exception:
        """What is to be raised."""
        if isinstance(node, Local):
            return error
        if isinstance(error, StepFailed) and isinstance(node, Step) and isinstance(node.work, RunStep):
            said = self._sentence(node.work.args, error.status)
            return self._definition.failed(said, node.lines, node.digest, error.status)
        if isinstance(error, SourceMissing):
            return self._definition.failed(_not_there(node, error), node.lines, node.digest)
        return self._definition.failed(str(error), node.lines, node.digest) if isinstance(error, CortenError) else error


def _did_not_complete(args: Sequence[str], status: int) -> str:
    return f"process {quoted(' '.join(args))} did not complete successfully: exit code: {status}"


def _returned(args: Sequence[str], status: int) -> str:
    return f"The command '{' '.join(args)}' returned a non-zero code: {status}"


def _not_there(node: Fetched | Step, error: SourceMissing) -> str:
    """The classic builder names the context where it looked there."""
    work = node.work if isinstance(node, Step) else None
    if not isinstance(work, CopyStep) or not work.classic:
        return f"failed to compute cache key: {error}"
    context = isinstance(node, Step) and any(isinstance(origin, Local) for origin in node.origins)
    where = "file not found in build context or excluded by .dockerignore: " if context else ""
    return f"{work.classic} failed: {where}stat {error.path}: file does not exist"
