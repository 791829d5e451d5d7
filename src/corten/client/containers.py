"""Requests about containers. `ref` is a name, an id or the unambiguous beginning of one."""

from __future__ import annotations

from corten.client import quickjson
from corten.client.errors import BadAnswer
from corten.client.http import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from corten.client.api import Answer, Client, Json, Upgraded
    from corten.client.connection import Connection, Data
    from corten.client.http import Head
    from corten.spec.docker.create import CreateRequest
    from corten.spec.docker.exec import ExecConfig, ExecStart
    from corten.spec.docker.host_config import UpdateConfig


def _at(ref: str, what: str = "") -> str:
    return f"/containers/{named('container', ref)}{what}"


def truth(value: bool) -> str | None:
    """A boolean query parameter as Docker's client sends it: absent when false."""
    return "1" if value else None


def filters(wanted: dict[str, list[str]]) -> str | None:
    """The `filters` query parameter (name -> values that match), or None for no filter."""
    if not wanted:
        return None
    return quickjson.dumps({name: dict.fromkeys(values, True) for name, values in wanted.items()})


def listing(
    client: Client,
    everything: bool = False,
    limit: int = -1,
    size: bool = False,
    wanted: dict[str, list[str]] | None = None,
) -> list[Json]:
    """Containers, newest first; running ones only unless `everything` or a `limit`."""
    query = {
        "all": truth(everything),
        "filters": filters(wanted or {}),
        "limit": str(limit) if limit > 0 else None,
        "size": truth(size),
    }
    answer: list[Json] = client.call("GET", "/containers/json", query)
    return answer


def create(client: Client, name: str, config: CreateRequest, platform: str = "") -> Json:
    """{"Id": ..., "Warnings": [...]}; ApiError 404 when the image is not there, 409 when the name is taken."""
    answer: Json = client.call(
        "POST", "/containers/create", {"name": name or None, "platform": platform or None}, config.given_json()
    )
    return answer


def inspect(client: Client, ref: str, size: bool = False) -> Json:
    answer: Json = client.call("GET", _at(ref, "/json"), {"size": truth(size)})
    return answer


def start(client: Client, ref: str, detach_keys: str = "") -> Head:
    """The head of the answer: 304 when it already runs; our daemon adds `X-Corten-Timing`."""
    return client.exchange("POST", _at(ref, "/start"), {"detachKeys": detach_keys or None})[0]


def stop(client: Client, ref: str, timeout: int | None = None, signal: str = "") -> None:
    client.call("POST", _at(ref, "/stop"), _ending(timeout, signal))


def restart(client: Client, ref: str, timeout: int | None = None, signal: str = "") -> None:
    client.call("POST", _at(ref, "/restart"), _ending(timeout, signal))


def _ending(timeout: int | None, signal: str) -> dict[str, str | None]:
    return {"signal": signal or None, "t": None if timeout is None else str(timeout)}


def kill(client: Client, ref: str, signal: str = "") -> None:
    client.call("POST", _at(ref, "/kill"), {"signal": signal or None})


def pause(client: Client, ref: str) -> None:
    client.call("POST", _at(ref, "/pause"))


def unpause(client: Client, ref: str) -> None:
    client.call("POST", _at(ref, "/unpause"))


def rename(client: Client, ref: str, name: str) -> None:
    client.call("POST", _at(ref, "/rename"), {"name": name})


def remove(client: Client, ref: str, force: bool = False, volumes: bool = False, link: bool = False) -> None:
    client.call("DELETE", _at(ref), {"v": truth(volumes), "link": truth(link), "force": truth(force)})


def update(client: Client, ref: str, config: UpdateConfig) -> Json:
    answer: Json = client.call("POST", _at(ref, "/update"), None, config.given_json())
    return answer


def top(client: Client, ref: str, arguments: list[str]) -> Json:
    """{"Titles": [...], "Processes": [[...], ...]}"""
    answer: Json = client.call("GET", _at(ref, "/top"), {"ps_args": " ".join(arguments) or None})
    return answer


def resize(client: Client, ref: str, height: int, width: int) -> None:
    client.call("POST", _at(ref, "/resize"), {"h": str(height), "w": str(width)})


def logs(client: Client, ref: str, query: dict[str, str | None]) -> Answer:
    """The stored output; frames (stdcopy) unless the container has a terminal."""
    return client.stream("GET", _at(ref, "/logs"), query)


def attach(
    client: Client, ref: str, stdin: bool, stdout: bool, stderr: bool, detach_keys: str = "", logs: bool = False
) -> Upgraded:
    query = {
        "detachKeys": detach_keys or None,
        "logs": truth(logs),
        "stderr": truth(stderr),
        "stdin": truth(stdin),
        "stdout": truth(stdout),
        "stream": "1",
    }
    return client.upgrade(_at(ref, "/attach"), query)


def begin_wait(client: Client, ref: str, condition: str = "") -> Connection:
    """Wait for the exit; the answer is read later with `client.receive(connection, "POST").json()`.

    {"StatusCode": n, "Error": {"Message": ...} or null}. The daemon registers the waiter when it sends the head.
    """
    return client.begin("POST", client.target(_at(ref, "/wait"), {"condition": condition or None}), None, None)


def wait(client: Client, ref: str) -> Json:
    """The same answer, once the container does not run."""
    answer = client.receive(begin_wait(client, ref), "POST")
    try:
        result: Json = answer.json()
    finally:
        answer.close()
    return result


def begin_stats(client: Client, ref: str, stream: bool) -> Connection:
    """Ask for samples, or for one; read with `client.receive(connection, "GET")` and then line by line."""
    return client.begin("GET", client.target(_at(ref, "/stats"), {"stream": truth(stream) or "0"}), None, None)


def changes(client: Client, ref: str) -> list[Json]:
    """[{"Path": ..., "Kind": 0 changed | 1 added | 2 deleted}]"""
    answer: list[Json] | None = client.call("GET", _at(ref, "/changes"))
    return answer or []


def export(client: Client, ref: str) -> Answer:
    """The file system as a tar."""
    return client.stream("GET", _at(ref, "/export"))


def commit(client: Client, query: dict[str, str | None]) -> Json:
    answer: Json = client.call("POST", "/commit", query, {})
    return answer


def prune(client: Client, wanted: dict[str, list[str]]) -> Json:
    answer: Json = client.call("POST", "/containers/prune", {"filters": filters(wanted)})
    return answer


def archive_stat(client: Client, ref: str, path: str) -> str:
    """The `X-Docker-Container-Path-Stat` header: base64 of {"name","size","mode","mtime","linkTarget"}."""
    head, _ = client.exchange("HEAD", _at(ref, "/archive"), {"path": path})
    return head.headers.get("x-docker-container-path-stat", "")


def archive_get(client: Client, ref: str, path: str) -> Answer:
    return client.stream("GET", _at(ref, "/archive"), {"path": path})


def archive_put(client: Client, ref: str, path: str, body: Iterable[Data], copy_owner: bool = False) -> None:
    query = {"copyUIDGID": "true" if copy_owner else None, "noOverwriteDirNonDir": "true", "path": path}
    client.stream("PUT", _at(ref, "/archive"), query, body).close()


def exec_create(client: Client, ref: str, config: ExecConfig) -> str:
    """The id of a new exec."""
    answer: Any = client.call("POST", _at(ref, "/exec"), None, config.given_json()) or {}
    if not answer.get("Id"):
        raise BadAnswer("the daemon gave the exec no ID")
    return str(answer["Id"])


def exec_start(client: Client, exec_id: str, config: ExecStart) -> None:
    """Start without attaching."""
    client.call("POST", f"/exec/{exec_id}/start", None, config.given_json())


def exec_attach(client: Client, exec_id: str, config: ExecStart) -> Upgraded:
    return client.upgrade(f"/exec/{exec_id}/start", None, config.given_json())


def exec_inspect(client: Client, exec_id: str) -> Json:
    answer: Json = client.call("GET", f"/exec/{exec_id}/json")
    return answer


def exec_resize(client: Client, exec_id: str, height: int, width: int) -> None:
    client.call("POST", f"/exec/{exec_id}/resize", {"h": str(height), "w": str(width)})
