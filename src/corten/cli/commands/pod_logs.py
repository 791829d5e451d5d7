"""corten pod logs: what a container of a pod has written."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.commands import logs
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.client.api import Client

    Json = dict[str, Any]


def run(session: Session, flags: Flags) -> int:
    pod = _pod(session.client, flags.words[0])
    wanted = flags.words[1] if len(flags.words) > 1 else ""
    return logs.show(session, flags, _container(session.client, pod, wanted, flags.on("previous")))


def _pod(client: Client, ref: str) -> Json:
    """By id or the start of one, by name, or by NAMESPACE/NAME; of several of a name the youngest."""
    found: list[Json] = client.call("GET", "/pods/json")
    namespace, _, name = ref.rpartition("/")
    chosen = [
        pod
        for pod in found
        if pod["id"].startswith(ref)
        or (pod["metadata"]["name"] == name and namespace in ("", pod["metadata"]["namespace"]))
    ]
    if len({(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in chosen}) > 1:
        several = sorted(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in chosen)
        raise CommandError(f"{ref} is several pods: {', '.join(several)}")
    if not chosen:
        raise CommandError(f"No such pod: {ref}")
    return max(chosen, key=lambda pod: int(pod["created_at"]))


def _container(client: Client, pod: Json, name: str, previous: bool) -> str:
    """Its id: of those that the kubelet has made one after the other the last, or the one before."""
    views: list[Json] = client.call("GET", "/pods/containers/json")
    own = [view["status"] for view in views if view["pod"] == pod["id"]]
    names = sorted({each["metadata"]["name"] for each in own})
    if not name and len(names) > 1:
        raise CommandError(f"pod {pod['metadata']['name']} has several containers: {', '.join(names)}")
    chosen = sorted(
        (each for each in own if name in ("", each["metadata"]["name"])), key=lambda each: int(each["created_at"])
    )
    if len(chosen) < 1 + previous:
        what = f"container {name}" if name else "container"
        raise CommandError(f"pod {pod['metadata']['name']} has no {'previous ' if previous else ''}{what}")
    return str(chosen[-1 - previous]["id"])


COMMAND = Command(
    run,
    "[OPTIONS] POD [CONTAINER]",
    "Show the output of a pod's container",
    (
        flag("follow", BOOL, "Go on with new output as it comes", "f"),
        flag("previous", BOOL, "Of the container before the last one", "p"),
        flag("since", STRING, "From this time on (2013-01-02T13:23:37Z, or 42m for 42 minutes ago)"),
        flag("tail", STRING, "This many lines from the end", "n", default="all"),
        flag("timestamps", BOOL, "Show when each line was written", "t"),
        flag("until", STRING, "Up to this time (2013-01-02T13:23:37Z, or 42m for 42 minutes ago)"),
    ),
    least=1,
    most=2,
)
