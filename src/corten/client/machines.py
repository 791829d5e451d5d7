"""Requests about whole virtual machines. `ref` is a name, an id or the unambiguous beginning of one."""

from __future__ import annotations

from corten.client.containers import filters, truth
from corten.client.http import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from corten.client.api import Answer, Client, Json, Upgraded
    from corten.spec.docker.machine import (
        MachineBackup,
        MachineCreate,
        MachineDevice,
        MachineDisk,
        MachineExec,
        MachineNetwork,
        MachineSnapshot,
        MachineUpdate,
    )


def at(ref: str, what: str = "") -> str:
    return f"/vms/{named('machine', ref)}{what}"


def listing(client: Client, everything: bool, wanted: dict[str, list[str]]) -> list[Json]:
    answer: list[Json] = client.call("GET", "/vms/json", {"all": truth(everything), "filters": filters(wanted)})
    return answer


def create(client: Client, name: str, config: MachineCreate) -> Json:
    """{"Id": ..., "Name": ..., "Warnings": [...]}; disks that are copied take their time."""
    answer = client.stream("POST", "/vms/create", {"name": name or None}, config.given_json())
    made: Json = answer.json()
    answer.close()
    return made


def inspect(client: Client, ref: str) -> Json:
    answer: Json = client.call("GET", at(ref, "/json"))
    return answer


def command_line(client: Client, ref: str) -> list[str]:
    answer: Json = client.call("GET", at(ref, "/qemu"))
    return [str(word) for word in answer["Arguments"]]


def act(client: Client, ref: str, verb: str) -> None:
    """start, kill, reset, pause, unpause, save."""
    client.call("POST", at(ref, f"/{verb}"))


def stop(client: Client, ref: str, seconds: int | None) -> bool:
    """Whether it had to be killed."""
    answer = client.call("POST", at(ref, "/stop"), {"t": None if seconds is None else str(seconds)})
    return bool(answer and answer.get("Killed"))


def restart(client: Client, ref: str, seconds: int | None) -> None:
    client.call("POST", at(ref, "/restart"), {"t": None if seconds is None else str(seconds)})


def remove(client: Client, ref: str, force: bool, disks: bool) -> None:
    client.call("DELETE", at(ref), {"force": truth(force), "disks": truth(disks)})


def update(client: Client, ref: str, config: MachineUpdate) -> Json:
    answer: Json = client.call("POST", at(ref, "/update"), None, config.given_json())
    return answer


def add_disk(client: Client, ref: str, disk: MachineDisk) -> str:
    answer = client.stream("POST", at(ref, "/disks"), None, disk.given_json())
    made: Json = answer.json()
    answer.close()
    return str(made["Name"])


def add_device(client: Client, ref: str, device: MachineDevice) -> str:
    answer: Json = client.call("POST", at(ref, "/devices"), None, device.given_json())
    return str(answer["Name"])


def take_out_device(client: Client, ref: str, device: MachineDevice) -> None:
    kind, address = (named("device", text) for text in (device.kind, device.address))
    client.call("DELETE", at(ref, f"/devices/{kind}/{address}"))


def rebase(client: Client, ref: str, disk: str, onto: str) -> list[str]:
    """Volumes of the disk's chain now, its own last."""
    answer = client.stream("POST", at(ref, f"/disks/{named('disk', disk)}/rebase"), None, {"Onto": onto})
    done: Json = answer.json()
    answer.close()
    return [str(name) for name in done["Chain"]]


def connect(client: Client, ref: str, network: MachineNetwork) -> None:
    client.call("POST", at(ref, "/networks"), None, network.given_json())


def take_out(client: Client, ref: str, kind: str, name: str) -> None:
    """`kind`: disks or networks."""
    client.call("DELETE", at(ref, f"/{kind}/{named('device', name)}"))


def commit(client: Client, ref: str, disk: str) -> list[str]:
    """The same."""
    answer = client.stream("POST", at(ref, f"/disks/{named('disk', disk)}/commit"))
    done: Json = answer.json()
    answer.close()
    return [str(name) for name in done["Chain"]]


def snapshot(client: Client, ref: str, asked: MachineSnapshot) -> Json:
    answer: Json = client.call("POST", at(ref, "/snapshots"), None, asked.given_json())
    return answer


def snapshots(client: Client, ref: str) -> list[Json]:
    answer: list[Json] = client.call("GET", at(ref, "/snapshots"))
    return answer


def revert(client: Client, ref: str, name: str) -> None:
    client.call("POST", at(ref, f"/snapshots/{named('snapshot', name)}/revert"))


def remove_snapshot(client: Client, ref: str, name: str) -> None:
    client.stream("DELETE", at(ref, f"/snapshots/{named('snapshot', name)}")).close()


def clone(client: Client, ref: str, name: str, full: bool) -> Json:
    answer: Json = client.call("POST", at(ref, "/clone"), None, {"Name": name, "Full": full})
    return answer


def execute(client: Client, ref: str, asked: MachineExec, seconds: int) -> tuple[int, bytes, bytes]:
    """Exit code, output, errors."""
    from binascii import a2b_base64

    answer = client.stream("POST", at(ref, "/exec"), {"t": str(seconds)}, asked.given_json())
    done: Json = answer.json()
    answer.close()
    return int(done["ExitCode"]), a2b_base64(done["Stdout"]), a2b_base64(done["Stderr"])


def jobs(client: Client, ref: str) -> list[Json]:
    """How far it is with what takes its time: {"Id", "Type", "Current", "Total"}."""
    answer: list[Json] = client.call("GET", at(ref, "/jobs"))
    return answer


def export(client: Client, ref: str) -> Answer:
    """A tar."""
    return client.stream("GET", at(ref, "/export"))


def take_in(client: Client, name: str, pieces: Iterator[bytes], kernel: str = "", initrd: str = "") -> Json:
    """{"Id", "Name"} of the machine of such a tar. What it boots is no file that the tar names."""
    query = {"name": name or None, "kernel": kernel or None, "initrd": initrd or None}
    answer = client.stream("POST", "/vms/import", query, pieces)
    made: Json = answer.json()
    answer.close()
    return made


def file(client: Client, ref: str, path: str) -> Answer:
    return client.stream("GET", at(ref, "/file"), {"path": path})


def put_file(client: Client, ref: str, path: str, mode: int, pieces: Iterator[bytes]) -> None:
    client.stream("PUT", at(ref, "/file"), {"path": path, "mode": str(mode)}, pieces).close()


def insert(client: Client, ref: str, name: str, disk: MachineDisk) -> str:
    """A CD into the drive `name` ("any": the first)."""
    answer = client.stream("POST", at(ref, f"/cds/{named('drive', name)}/insert"), None, disk.given_json())
    made: Json = answer.json()
    answer.close()
    return str(made["Name"])


def eject(client: Client, ref: str, name: str, force: bool) -> None:
    client.call("POST", at(ref, f"/cds/{named('drive', name)}/eject"), {"force": truth(force)})


def addresses(client: Client, ref: str) -> list[Json]:
    answer: list[Json] = client.call("GET", at(ref, "/addresses"))
    return answer


def stats(client: Client, ref: str) -> Json:
    answer: Json = client.call("GET", at(ref, "/stats"))
    return answer


def attach(client: Client, ref: str, console: str = "", detach_keys: str = "") -> Upgraded:
    return client.upgrade(at(ref, "/attach"), {"console": console or None, "detachKeys": detach_keys or None})


def screenshot(client: Client, ref: str) -> bytes:
    return client.raw("GET", at(ref, "/screenshot"))


def logs(client: Client, ref: str, query: dict[str, str | None]) -> Answer:
    return client.stream("GET", at(ref, "/logs"), query)


def backup(client: Client, ref: str, asked: MachineBackup) -> Json:
    """{"Volume", "Disk", "Base"}"""
    answer = client.stream("POST", at(ref, "/backup"), None, asked.given_json())
    done: Json = answer.json()
    answer.close()
    return done


def migration(client: Client, ref: str) -> Json:
    """What the target is given."""
    answer: Json = client.call("GET", at(ref, "/migration"))
    return answer


def incoming(client: Client, name: str, description: Json, kernel: str = "", initrd: str = "") -> str:
    """The id of a machine that waits for its disks and its state. What it boots is no file that its host names."""
    query = {"name": name or None, "kernel": kernel or None, "initrd": initrd or None}
    answer = client.stream("POST", "/vms/incoming", query, description)
    made: Json = answer.json()
    answer.close()
    return str(made["Id"])


def stream(client: Client, ref: str, what: str) -> Upgraded:
    """`what`: migration or incoming, of the state, or of a disk ("migration/disks/disk0")."""
    return client.upgrade(at(ref, f"/{what}/attach"))


def finish(client: Client, ref: str, what: str) -> Json:
    """`what`: migration, {"Downtime": milliseconds that it has stood still}; or incoming, {"Ago": milliseconds since it
    does not any more}."""
    answer = client.stream("POST", at(ref, f"/{what}/finish"))
    done: Json = answer.json() if answer.head.status == 200 else {}
    answer.close()
    return done


def cancel_migration(client: Client, ref: str) -> None:
    client.call("DELETE", at(ref, "/migration"))


def wait(client: Client, ref: str) -> Json:
    answer = client.stream("POST", at(ref, "/wait"))
    found: Json = answer.json()
    answer.close()
    return found
