"""Images of services before their containers: which are there, pulls side by side, then what has to be built."""

from __future__ import annotations

import threading
import time

from corten.cli import credentials, pulling, userconfig
from corten.cli.errors import CommandError
from corten.cli.times import utc
from corten.client import images
from corten.client.api import checked
from corten.client.errors import ApiError, StreamError
from corten.compose.plan.images import BUILD, PULL, PULL_OR_BUILD, Present, Wanted
from corten.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from corten.cli.compose.context import Compose
    from corten.client.api import Client
    from corten.compose.execute.reports import Report
    from corten.compose.model import Project, Service

_AT_ONCE = 8


def present(client: Client, names: Iterable[str]) -> dict[str, Present]:
    found = {}
    for name in sorted(set(names)):
        try:
            image = images.inspect(client, name)
        except ApiError as error:
            if error.status != 404:
                raise
            continue
        tagged = _seconds((image.get("Metadata") or {}).get("LastTagTime") or "")
        found[name] = Present(str(image["Id"]), time.time() - tagged if tagged else None)
    return found


def _seconds(moment: str) -> int:
    """Since 1970; 0 where that is not known."""
    try:
        return max(int(utc(moment)), 0)
    except ValueError:
        return 0


def ensure(
    compose: Compose, project: Project, asked: Sequence[Wanted], shown: Report, quiet_pull: bool, quiet_build: bool
) -> None:
    """Do all of these. Raises the first error."""
    pulls = [each for each in asked if each.action in (PULL, PULL_OR_BUILD)]
    failed = pull_all(compose, project, pulls, shown, quiet_pull)
    builds = [each.service for each in asked if each.action == BUILD or each.service in failed]
    if builds:
        from corten.cli.compose.building import build

        build(compose, project, builds, [], quiet_build, shown)


def pull_all(
    compose: Compose, project: Project, pulls: Sequence[Wanted], shown: Report, quiet: bool, ignore: bool = False
) -> set[str]:
    """The services of which the image could not be had and is built. Each image once, however many services want it."""
    by_image: dict[tuple[str, str], list[Wanted]] = {}
    for each in pulls:
        by_image.setdefault((each.image, project.services[each.service].platform), []).append(each)
    waiting = list(by_image.items())
    lock = threading.Lock()
    failed: set[str] = set()
    errors: list[Exception] = []

    def work() -> None:
        client = compose.client.another()
        try:
            while True:
                with lock:
                    if not waiting or (errors and not ignore):
                        return
                    (image, platform), services = waiting.pop(0)
                for each in services:
                    shown.event("Image" if quiet else "Service", each.service, "Pulling")
                try:
                    _pull(compose, client, image, platform)
                except (CortenError, OSError) as error:
                    _failed(error, services, failed, errors, shown, ignore)
                    continue
                for each in services:
                    shown.event("Image" if quiet else "Service", each.service, "Pulled")
        finally:
            client.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(_AT_ONCE, len(waiting)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors and not ignore:
        raise errors[0]
    return failed


def _failed(
    error: Exception, services: Sequence[Wanted], failed: set[str], errors: list[Exception], shown: Report, ignore: bool
) -> None:
    buildable = [each.service for each in services if each.action == PULL_OR_BUILD]
    for each in services:
        shown.event("Service", each.service, "Warning" if buildable or ignore else "Error")
    if buildable:
        failed.update(buildable)
        shown.warning(f"{services[0].image} cannot be pulled and is built: {error}")
        return
    if ignore:
        shown.warning(str(error))
    errors.append(error)


def _pull(compose: Compose, client: Client, image: str, platform: str) -> None:
    repository, tag = pulling.split(image)
    login = credentials.header(compose.session.config, userconfig.registry_of(repository))
    answer = images.pull(client, repository, tag or pulling.DEFAULT_TAG, platform, login)
    try:
        for document in answer.documents():
            checked(document)
    except StreamError as error:
        raise CommandError(f"Error response from daemon: {error}") from None
    finally:
        answer.close()


def push_all(compose: Compose, services: Sequence[Service], shown: Report, ignore: bool) -> int:
    """Images of services that are built; 1 when one could not be pushed."""
    code = 0
    for service in services:
        if not service.image:
            shown.event("Service", service.name, "Skipped")
            continue
        shown.event("Service", service.name, "Pushing")
        try:
            _push(compose, service.image)
        except (CortenError, OSError) as error:
            shown.event("Service", service.name, "Error")
            if not ignore:
                raise
            shown.warning(str(error))
            code = 0
            continue
        shown.event("Service", service.name, "Pushed")
    return code


def _push(compose: Compose, image: str) -> None:
    repository, tag = pulling.split(image)
    login = credentials.header(compose.session.config, userconfig.registry_of(repository))
    answer = images.push(compose.client, repository, tag or pulling.DEFAULT_TAG, "", login)
    try:
        for document in answer.documents():
            checked(document)
    finally:
        answer.close()
