"""Events of a build as lines of JSON, in the names of BuildKit's `--progress=rawjson`:

    {"vertexes": [{"digest", "name", "inputs", "started", "completed", "cached", "error"}]}
    {"statuses": [{"id", "vertex", "current", "total", "timestamp", "started", "completed"}]}
    {"logs": [{"vertex", "stream", "data": base64, "timestamp"}]}
    {"warnings": [{"vertex", "short": base64, "url", "range"}]}

Times are RFC 3339; what is not yet is left out.
"""

from __future__ import annotations

import base64
import time

from corten.build.contract import Event, Log, Status, Vertex, Warning
from corten.spec.docker import times
from corten.spec.dockerfile import places
from corten.spec.json import Json


def traced(event: Event) -> Json:
    match event:
        case Vertex():
            vertex: Json = {"digest": event.digest, "name": event.name}
            vertex |= {"inputs": list(event.inputs)} if event.inputs else {}
            vertex |= _times(event.started, event.completed)
            vertex |= {"cached": True} if event.cached else {}
            vertex |= {"error": event.error} if event.error else {}
            return {"vertexes": [vertex]}
        case Status():
            status: Json = {"id": event.id, "vertex": event.vertex, "current": event.current}
            status |= {"total": event.total} if event.total else {}
            status |= {"timestamp": times.of_seconds(event.at or time.time()), **_times(event.started, event.completed)}
            return {"statuses": [status]}
        case Log():
            data = base64.b64encode(event.data).decode()
            at = times.of_seconds(event.at or time.time())
            log = {"vertex": event.vertex, "stream": event.stream, "data": data, "timestamp": at}
            return {"logs": [log]}
        case Warning():
            text = f"{event.rule}: {event.message}"
            short = base64.b64encode(text.encode()).decode()
            place = places.ranges([event.lines])
            return {"warnings": [{"vertex": event.vertex, "short": short, "url": event.url, "range": place}]}
        case _:
            return {"stream": event.text}


def _times(started: float, completed: float) -> Json:
    shown = {"started": started, "completed": completed}
    return {name: times.of_seconds(value) for name, value in shown.items() if value}
