"""Names of what a project has in the engine."""

from __future__ import annotations

from corten.compose.model import Project, Service


def container_name(project: Project, service: Service, number: int) -> str:
    """Of one of a service's containers, counted from 1."""
    return service.container_name or f"{project.name}-{service.name}-{number}"
