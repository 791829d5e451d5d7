"""/vms: whole virtual machines, which are ours: Docker's API has none."""

from __future__ import annotations

import base64

from aiohttp import web

from corten.api.call import PATIENCE, Call, decode_object, empty, json_answer, read_body, upload
from corten.api.hijack import Hijacked, take
from corten.api.routes import Route
from corten.api.streams import begin, pieces
from corten.engine.containers import logs
from corten.engine.containers.attach import detach_keys
from corten.machines import (
    agent,
    archive,
    backups,
    cds,
    change,
    commit,
    console,
    create,
    devices,
    guest_files,
    interfaces,
    jobs,
    life,
    migration_source,
    migration_target,
    plan,
    rebase,
    run,
    show,
    snapshots,
)
from corten.machines import clone as cloning
from corten.spec.docker.machine import (
    MachineBackup,
    MachineClone,
    MachineCreate,
    MachineDevice,
    MachineDisk,
    MachineExec,
    MachineNetwork,
    MachineRebase,
    MachineSnapshot,
    MachineUpdate,
)
from corten.spec.docker.networking import EndpointSettings
from corten.tasks.contract import Stream


async def list_machines(call: Call) -> web.StreamResponse:
    return json_answer(show.listed(call.machines, call.flag("all"), call.filters()))


async def make(call: Call) -> web.StreamResponse:
    machine = await create.create(call.machines, call.text("name"), await call.body(MachineCreate))
    accelerator = await call.machines.guests.accelerator()
    warnings = [accelerator.hint.replace("guests are", "machines are", 1)] if accelerator.hint else []
    return json_answer({"Id": machine.id, "Name": machine.name, "Warnings": warnings}, 201)


async def inspect(call: Call) -> web.StreamResponse:
    return json_answer(await show.inspected(call.machines, call.machines.get(call.path["id"])))


async def qemu(call: Call) -> web.StreamResponse:
    machine = call.machines.get(call.path["id"])
    return json_answer({"Arguments": await plan.shown(call.machines, machine)})


async def remove(call: Call) -> web.StreamResponse:
    machine = call.machines.get(call.path["id"])
    await life.remove(call.machines, machine, call.flag("force"), call.flag("disks"))
    return empty()


async def start(call: Call) -> web.StreamResponse:
    await run.start(call.machines, call.machines.get(call.path["id"]))
    return empty()


async def stop(call: Call) -> web.StreamResponse:
    machine = call.machines.get(call.path["id"])
    if not machine.record.state.running:
        return web.Response(status=304)
    killed = await life.stop(call.machines, machine, call.integer("t"))
    return json_answer({"Killed": killed})


async def kill(call: Call) -> web.StreamResponse:
    await life.kill(call.machines, call.machines.running(call.path["id"]))
    return empty()


async def restart(call: Call) -> web.StreamResponse:
    await life.restart(call.machines, call.machines.get(call.path["id"]), call.integer("t"))
    return empty()


async def reset(call: Call) -> web.StreamResponse:
    await life.reset(call.machines, call.machines.running(call.path["id"]))
    return empty()


async def pause(call: Call) -> web.StreamResponse:
    await life.pause(call.machines, call.machines.running(call.path["id"]))
    return empty()


async def unpause(call: Call) -> web.StreamResponse:
    await life.unpause(call.machines, call.machines.running(call.path["id"]))
    return empty()


async def wait(call: Call) -> web.StreamResponse:
    ended = call.machines.get(call.path["id"]).ended()
    try:
        exit = await ended
    finally:
        ended.cancel()
    return json_answer({"StatusCode": exit.status, "Error": exit.error})


async def attach(call: Call) -> web.StreamResponse:
    """The serial console, or with console=vnc the screen: RFB on the upgraded connection."""
    machine = call.machines.running(call.path["id"])
    keys = detach_keys(call.text("detachKeys"))
    if call.text("console") == "vnc":
        console.check_screen(machine)
        taken = await take(call.request, framed=False, stream_types=True)
        await console.screen(machine, taken.fd)
        return Hijacked()
    taken = await take(call.request, framed=False, stream_types=True)
    await console.attach(call.machines, machine, Stream(taken.fd, early=taken.early, detach_keys=keys))
    return Hijacked()


async def screenshot(call: Call) -> web.StreamResponse:
    image = await console.screenshot(call.machines.running(call.path["id"]))
    return web.Response(body=image, content_type="image/png")


async def machine_logs(call: Call) -> web.StreamResponse:
    """What the serial console has said, as it was."""
    machine = call.machines.get(call.path["id"])
    tail = call.text("tail", "all")
    wanted = logs.Selection(
        since=call.time("since"),
        until=call.time("until"),
        tail=int(tail) if tail.isascii() and tail.isdigit() and len(tail) < 19 else None,
        follow=call.flag("follow") and machine.task is not None,
        timestamps=call.flag("timestamps"),
        mux=False,
    )
    ended = machine.ended() if wanted.follow else None
    try:
        await console.catch_up(machine)
        answer = await begin(call, "application/octet-stream")
        return await pieces(answer, logs.read(machine.log_path, wanted, ended))
    finally:
        if ended is not None:
            ended.cancel()


async def save(call: Call) -> web.StreamResponse:
    await life.save(call.machines, call.machines.running(call.path["id"]))
    return empty()


async def update(call: Call) -> web.StreamResponse:
    machine = call.machines.get(call.path["id"])
    return json_answer(await change.update(call.machines, machine, await call.body(MachineUpdate)))


async def add_disk(call: Call) -> web.StreamResponse:
    machine = call.machines.get(call.path["id"])
    return json_answer({"Name": await change.add_disk(call.machines, machine, await call.body(MachineDisk))}, 201)


async def remove_disk(call: Call) -> web.StreamResponse:
    await change.remove_disk(call.machines, call.machines.get(call.path["id"]), call.path["name"])
    return empty()


async def take_in_base(call: Call) -> web.StreamResponse:
    machine, asked = call.machines.get(call.path["id"]), await call.body(MachineRebase, optional=True)
    return json_answer({"Chain": await rebase.rebase(call.machines, machine, call.path["name"], asked.onto)})


async def write_into_base(call: Call) -> web.StreamResponse:
    machine = call.machines.get(call.path["id"])
    return json_answer({"Chain": await commit.commit(call.machines, machine, call.path["name"])})


async def add_device(call: Call) -> web.StreamResponse:
    machine = call.machines.get(call.path["id"])
    return json_answer({"Name": await devices.add(call.machines, machine, await call.body(MachineDevice))}, 201)


async def remove_device(call: Call) -> web.StreamResponse:
    asked = MachineDevice(kind=call.path["kind"], address=call.path["address"])
    await devices.remove(call.machines, call.machines.get(call.path["id"]), asked)
    return empty()


async def connect(call: Call) -> web.StreamResponse:
    machine, asked = call.machines.get(call.path["id"]), await call.body(MachineNetwork)
    await interfaces.connect(call.machines, machine, asked.network, asked.endpoint_config or EndpointSettings())
    return empty()


async def disconnect(call: Call) -> web.StreamResponse:
    await interfaces.disconnect(call.machines, call.machines.get(call.path["id"]), call.path["name"])
    return empty()


async def snapshot(call: Call) -> web.StreamResponse:
    machine, asked = call.machines.get(call.path["id"]), await call.body(MachineSnapshot, optional=True)
    kind = snapshots.Kind(asked.external or asked.disk_only or asked.quiesce, asked.disk_only, asked.quiesce)
    made = await snapshots.create(call.machines, machine, asked.name, kind)
    return json_answer({"Name": made.name, "Memory": made.memory}, 201)


async def list_snapshots(call: Call) -> web.StreamResponse:
    return json_answer(show.snapshots(call.machines.get(call.path["id"])))


async def revert(call: Call) -> web.StreamResponse:
    await snapshots.revert(call.machines, call.machines.get(call.path["id"]), call.path["name"])
    return empty()


async def remove_snapshot(call: Call) -> web.StreamResponse:
    await snapshots.remove(call.machines, call.machines.get(call.path["id"]), call.path["name"])
    return empty()


async def clone(call: Call) -> web.StreamResponse:
    machine, asked = call.machines.get(call.path["id"]), await call.body(MachineClone, optional=True)
    made = await cloning.clone(call.machines, machine, asked.name, asked.full)
    return json_answer({"Id": made.id, "Name": made.name}, 201)


async def backup(call: Call) -> web.StreamResponse:
    machine, asked = call.machines.get(call.path["id"]), await call.body(MachineBackup)
    return json_answer(await backups.create(call.machines, machine, asked), 201)


async def execute(call: Call) -> web.StreamResponse:
    machine, asked = call.machines.running(call.path["id"]), await call.body(MachineExec)
    seconds = call.integer("t", 600) or 600
    done = await agent.run(machine, asked.cmd or (), asked.env or (), asked.stdin, seconds)
    out, err = (base64.b64encode(text).decode() for text in (done.out, done.err))
    return json_answer({"ExitCode": done.status, "Stdout": out, "Stderr": err})


async def list_jobs(call: Call) -> web.StreamResponse:
    return json_answer(await jobs.current(call.machines.get(call.path["id"])))


async def export(call: Call) -> web.StreamResponse:
    machine = call.machines.get(call.path["id"])
    archive.check(call.machines, machine)
    return await pieces(await begin(call, "application/x-tar"), archive.packed(call.machines, machine), PATIENCE)


async def take_in(call: Call) -> web.StreamResponse:
    files = call.text("kernel"), call.text("initrd")
    machine = await archive.unpacked(call.machines, upload(call.request), call.text("name"), *files)
    return json_answer({"Id": machine.id, "Name": machine.name}, 201)


async def read_file(call: Call) -> web.StreamResponse:
    machine = call.machines.running(call.path["id"])
    task = call.machines.task(machine)
    handle = await guest_files.opened(machine, call.text("path"), "r")
    try:
        answer = await begin(call, "application/octet-stream")
    except BaseException:  # the client has gone
        await guest_files.close(task, handle)
        raise
    return await pieces(answer, guest_files.read(machine, handle))


async def write_file(call: Call) -> web.StreamResponse:
    machine = call.machines.running(call.path["id"])
    mode = call.integer("mode", 0o644)
    size = await guest_files.write(machine, call.text("path"), upload(call.request), 0o644 if mode is None else mode)
    return json_answer({"Size": size})


async def insert(call: Call) -> web.StreamResponse:
    machine, asked = call.machines.get(call.path["id"]), await call.body(MachineDisk)
    return json_answer({"Name": await cds.insert(call.machines, machine, call.path["name"], asked)})


async def eject(call: Call) -> web.StreamResponse:
    machine = call.machines.get(call.path["id"])
    await cds.eject(call.machines, machine, call.path["name"], call.flag("force"))
    return empty()


async def addresses(call: Call) -> web.StreamResponse:
    return json_answer(await agent.addresses(call.machines.running(call.path["id"])))


async def stats(call: Call) -> web.StreamResponse:
    return json_answer(await show.stats(call.machines, call.machines.running(call.path["id"])))


async def describe(call: Call) -> web.StreamResponse:
    return json_answer(await migration_source.description(call.machines, call.machines.running(call.path["id"])))


async def send_disk(call: Call) -> web.StreamResponse:
    machine = call.machines.running(call.path["id"])
    taken = await take(call.request, framed=False, stream_types=True)
    await migration_source.send_disk(call.machines, machine, call.path["name"], taken.fd)
    return Hijacked()


async def send_state(call: Call) -> web.StreamResponse:
    machine = call.machines.running(call.path["id"])
    taken = await take(call.request, framed=False, stream_types=True)
    migration_source.send_state(call.machines, machine, taken.fd)
    return Hijacked()


async def sent(call: Call) -> web.StreamResponse:
    return json_answer(await migration_source.finished(call.machines, call.machines.running(call.path["id"])))


async def cancel_sending(call: Call) -> web.StreamResponse:
    await migration_source.cancel(call.machines, call.machines.running(call.path["id"]))
    return empty()


async def receive(call: Call) -> web.StreamResponse:
    body = decode_object(await read_body(call.request))
    files = call.text("kernel"), call.text("initrd")
    machine = await migration_target.receive(call.machines, body, call.text("name"), *files)
    return json_answer({"Id": machine.id, "Name": machine.name}, 201)


async def receive_disk(call: Call) -> web.StreamResponse:
    machine = call.machines.get(call.path["id"])
    migration_target.check_incoming(machine)
    taken = await take(call.request, framed=False, stream_types=True)
    await migration_target.receive_disk(call.machines, machine, taken.fd, taken.early)
    return Hijacked()


async def receive_state(call: Call) -> web.StreamResponse:
    machine = call.machines.get(call.path["id"])
    migration_target.check_incoming(machine)
    taken = await take(call.request, framed=False, stream_types=True)
    migration_target.receive_state(machine, taken.fd, taken.early)
    return Hijacked()


async def received(call: Call) -> web.StreamResponse:
    return json_answer(await migration_target.finish(call.machines.get(call.path["id"])))


ROUTES = (
    Route("GET", "/vms/{id}/migration", describe),
    Route("POST", "/vms/{id}/migration/disks/{name}/attach", send_disk),
    Route("POST", "/vms/{id}/migration/attach", send_state),
    Route("POST", "/vms/{id}/migration/finish", sent),
    Route("DELETE", "/vms/{id}/migration", cancel_sending),
    Route("POST", "/vms/incoming", receive),
    Route("POST", "/vms/{id}/incoming/disks/{name}/attach", receive_disk, stream=True),
    Route("POST", "/vms/{id}/incoming/attach", receive_state),
    Route("POST", "/vms/{id}/incoming/finish", received),
    Route("GET", "/vms/json", list_machines),
    Route("POST", "/vms/create", make),
    Route("GET", "/vms/{id}/json", inspect),
    Route("GET", "/vms/{id}/qemu", qemu),
    Route("DELETE", "/vms/{id}", remove),
    Route("POST", "/vms/{id}/start", start),
    Route("POST", "/vms/{id}/stop", stop),
    Route("POST", "/vms/{id}/kill", kill),
    Route("POST", "/vms/{id}/restart", restart),
    Route("POST", "/vms/{id}/reset", reset),
    Route("POST", "/vms/{id}/pause", pause),
    Route("POST", "/vms/{id}/unpause", unpause),
    Route("POST", "/vms/{id}/wait", wait, stream=True),
    Route("POST", "/vms/{id}/attach", attach),
    Route("GET", "/vms/{id}/screenshot", screenshot),
    Route("POST", "/vms/{id}/save", save),
    Route("POST", "/vms/{id}/update", update),
    Route("POST", "/vms/{id}/disks", add_disk),
    Route("DELETE", "/vms/{id}/disks/{name}", remove_disk),
    Route("POST", "/vms/{id}/disks/{name}/rebase", take_in_base),
    Route("POST", "/vms/{id}/disks/{name}/commit", write_into_base),
    Route("POST", "/vms/{id}/devices", add_device),
    Route("DELETE", "/vms/{id}/devices/{kind}/{address}", remove_device),
    Route("POST", "/vms/{id}/networks", connect),
    Route("DELETE", "/vms/{id}/networks/{name}", disconnect),
    Route("GET", "/vms/{id}/snapshots", list_snapshots),
    Route("POST", "/vms/{id}/snapshots", snapshot),
    Route("POST", "/vms/{id}/snapshots/{name}/revert", revert),
    Route("DELETE", "/vms/{id}/snapshots/{name}", remove_snapshot),
    Route("POST", "/vms/{id}/clone", clone),
    Route("POST", "/vms/{id}/backup", backup),
    Route("POST", "/vms/{id}/exec", execute, stream=True),
    Route("GET", "/vms/{id}/jobs", list_jobs),
    Route("GET", "/vms/{id}/export", export, stream=True),
    Route("POST", "/vms/import", take_in, stream=True),
    Route("GET", "/vms/{id}/file", read_file, stream=True),
    Route("PUT", "/vms/{id}/file", write_file, stream=True),
    Route("POST", "/vms/{id}/cds/{name}/insert", insert),
    Route("POST", "/vms/{id}/cds/{name}/eject", eject),
    Route("GET", "/vms/{id}/addresses", addresses),
    Route("GET", "/vms/{id}/stats", stats),
    Route("GET", "/vms/{id}/logs", machine_logs, stream=True),
)
