"""The outline of a request's target."""

from __future__ import annotations

from corten.build.contract import BuildRequest
from corten.build.dockerfile import Definition
from corten.errors import Invalid
from corten.spec import platform as platforms
from corten.spec.dockerfile import stages
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.outline import Outline, outline


def outlined(definition: Definition, request: BuildRequest) -> Outline:
    """Raises BuildFailed with the Dockerfile's lines."""
    platform = platforms.parse(request.platform) if request.platform else platforms.host()
    automatic = stages.automatic(platforms.host(), platform, request.target)
    try:
        return outline(
            definition.file, stages.PlanOptions(request.target, request.arguments, automatic, tuple(request.contexts))
        )
    except DockerfileError as error:
        raise definition.failed(str(error), (error.line, error.end)) from error
    except Invalid as error:
        raise definition.failed(str(error), (0, 0)) from error
