"""Links of containers as an earlier version's records have them: by name, whatever the network."""

from __future__ import annotations

from pathlib import Path

from corten.engine.containers import links
from docker_json import create
from fakes.engine import PlainEngine


async def test_links_of_an_older_record(tmp_path: Path) -> None:
    engine = PlainEngine(tmp_path)
    await engine.open()
    await create(engine, {"Image": "test"}, {}, "db")
    for name, mode in (("app", "default"), ("other", "n1")):
        container, _ = await create(engine, {"Image": "test"}, {"NetworkMode": mode}, name)
        host = container.record.host_config.replace(links=["db:x", "gone:y", "db"])
        container.record.host_config = host
        engine.containers.save(container)
    await engine.close()
    later = PlainEngine(tmp_path, engine.runtime)
    await later.open()
    try:
        app, other, db = (later.containers.get(name) for name in ("app", "other", "db"))
        assert links.shown(later.containers, app) == ["/db:/app/x", "/db:/app/db"]
        assert links.shown(later.containers, other) is None
        assert later.containers.get("app/x") is db
        assert app.record.host_config.links is None
    finally:
        await later.close()
