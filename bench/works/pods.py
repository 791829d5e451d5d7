"""Pods, as a kubelet has them made: containerd's CRI with runc, and `corten cri` with our own network and plugins."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from functools import partial

from bench import processes
from bench.kubernetes import Engine, Kubelet, containerd, corten
from bench.measure import Failed, Row, Subject, Table, Target, alternate
from bench.plugins import Alone, alone
from bench.stage import Stage, Work, unique

PEER, OWN, SAME, PLUGIN = (
    "containerd, bridge plugin",
    "Corten, own network",
    "Corten, bridge plugin",
    "the plugin alone",
)
AT_A_TIME = 8
SAMPLES, PAUSE = 5, 0.3  # looks at memory, and seconds between two of them


def measure(stage: Stage) -> list[Table]:
    """Each engine is started for this, and ends with it."""
    with contextlib.ExitStack() as stack:
        engines = {
            PEER: stack.enter_context(containerd(stage.scratch / "pods-containerd", 3)),
            OWN: stack.enter_context(corten(stage.scratch / "pods-own", 4, plugins=False)),
            SAME: stack.enter_context(corten(stage.scratch / "pods-same", 5, plugins=True)),
        }
        kubelets = {name: stack.enter_context(engine.kubelet()) for name, engine in engines.items()}
        plugin = stack.enter_context(alone(6))
        starts = _one_pod(stage, kubelets, plugin, removal=False)
        removals = _one_pod(stage, kubelets, plugin, removal=True)
        return [*starts, *removals, *_many(stage, engines, kubelets)]


# ------------------------------------------------------------------------------------------------------------- one pod


def _one_pod(stage: Stage, kubelets: dict[str, Kubelet], plugin: Alone, removal: bool) -> list[Table]:
    """Two tables: the calls, and the calls without what the plugin takes."""
    subjects = [_subject(name, kubelet, removal) for name, kubelet in kubelets.items()]
    if removal:
        subjects.append(Subject(PLUGIN, plugin.delete, before=plugin.add))
    else:
        subjects.append(Subject(PLUGIN, plugin.add, after=plugin.delete))
    rows = alternate(subjects, stage.runs(15, 5), warm_up=2)
    calls = "StopPodSandbox, RemovePodSandbox" if removal else "RunPodSandbox, CreateContainer, StartContainer"
    verb = "removal" if removal else "start"
    note = f"{calls}, one container that sleeps. containerd also calls its loopback plugin, which is not taken off."
    return [
        Table(f"pod {verb}", rows, PEER, (Target(OWN, 1 / 3, PEER),), note=note),
        Table(f"pod {verb}, without the plugin's own time", _without(rows), PEER, (Target(SAME, 1 / 3, PEER),)),
    ]


def _subject(name: str, kubelet: Kubelet, removal: bool) -> Subject:
    pods: list[str] = []

    def up() -> None:
        pods.append(kubelet.up(unique()))

    def down() -> None:
        kubelet.down(pods.pop())

    return Subject(name, down, before=up) if removal else Subject(name, up, after=down)


def _without(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Turn by turn: what the plugin took then is taken off."""
    found = {row.name: row for row in rows}
    if any(found[name].remark for name in (PEER, SAME, PLUGIN)):
        return tuple(Row(name, remark=found[name].remark or "not measured") for name in (PEER, SAME))
    plugin = found[PLUGIN].values
    return tuple(Row(name, tuple(a - b for a, b in zip(found[name].values, plugin))) for name in (PEER, SAME))


# ----------------------------------------------------------------------------------------------------------- many pods


def _many(stage: Stage, engines: dict[str, Engine], kubelets: dict[str, Kubelet]) -> list[Table]:
    """With `number` pods: the time until they are up, memory for each, lists, and the time until they are gone."""
    number = 10 if stage.quick else 100
    timed: dict[str, list[Row]] = {"up": [], "gone": []}
    memory, lists, kinds = [], [], []
    for name in (PEER, OWN):
        kubelet, engine = kubelets[name], engines[name]
        before = _memory(engine)
        pods: list[str] = []
        timed["up"].append(_timed(name, partial(_fill, kubelet, pods, number)))
        base = statistics.median(before)
        memory.append(Row(name, tuple((value - base) / number for value in _memory(engine))))
        kinds.append(f"{name}: {processes.by_name(engine.processes())}")
        lists.append(Row(name, tuple(_list(kubelet, number) for _ in range(stage.runs(15, 5)))))
        timed["gone"].append(_timed(name, partial(kubelet.all_down, pods, AT_A_TIME)))
    third = (Target(OWN, 1 / 3, PEER),)
    return [
        Table(f"{number} pods, {AT_A_TIME} at a time, until all are up", tuple(timed["up"]), PEER, third),
        Table(f"{number} pods, {AT_A_TIME} at a time, until all are gone", tuple(timed["gone"]), PEER, third),
        Table(f"engine memory for each of {number} pods", tuple(memory), PEER, (), "MB", ". ".join(kinds) + "."),
        Table(f"ListPodSandbox and ListContainers with {number} pods", tuple(lists), PEER),
    ]


def _timed(name: str, work: Callable[[], object]) -> Row:
    begin = time.perf_counter()
    try:
        work()
    except (Failed, OSError) as error:
        return Row(name, remark=f"failed: {error}")
    return Row(name, ((time.perf_counter() - begin) * 1000,))


def _fill(kubelet: Kubelet, pods: list[str], number: int) -> None:
    pods += kubelet.all_up([unique() for _ in range(number)], AT_A_TIME)


def _list(kubelet: Kubelet, number: int) -> float:
    begin = time.perf_counter()
    if (found := kubelet.list()) != (number, number):
        raise Failed(f"{found} pods and containers are listed")
    return (time.perf_counter() - begin) * 1000


def _memory(engine: Engine) -> tuple[float, ...]:
    values = []
    for _ in range(SAMPLES):
        time.sleep(PAUSE)
        values.append(processes.pss(engine.processes()))
    return tuple(values)


WORK = Work("pods", measure)
