"""Plans as text: what is wanted and what is there on one side, numbered steps with their causes on the other."""

from __future__ import annotations

from itertools import pairwise

import pytest
from msgspec.structs import replace

from corten.compose import hashes, labels
from corten.compose.model import DependsOn, Hook, Network, Port, Project, Service, ServiceNetwork, ServiceVolume, Volume
from corten.compose.observed import Container, Observed
from corten.compose.observed import Network as Seen
from corten.compose.observed import Volume as Mounted
from corten.compose.plan import verbs
from corten.compose.plan.asked import ALWAYS, NEVER, Asked
from corten.compose.plan.down import DownAsked, down
from corten.compose.plan.rollout import replacements
from corten.compose.plan.up import up
from corten.compose.refusals import Refused

HEALTHY = DependsOn(condition="service_healthy", required=True)
DEFAULT: dict[str, ServiceNetwork | None] = {"default": None}
DB = Service(
    name="db", image="db", networks=DEFAULT, volumes=(ServiceVolume(type="volume", source="data", target="/data"),)
)
WEB = Service(name="web", image="web", networks=DEFAULT, depends_on={"db": HEALTHY})
DEMO = Project(
    name="demo",
    services={"db": DB, "web": WEB},
    networks={"default": Network(name="demo_default")},
    volumes={"data": Volume(name="demo_data")},
)
DATA = (Mounted("demo_data", "/data"),)
WAITS = "db:service_healthy:false"


def changed(project: Project, *services: Service) -> Project:
    return replace(project, services={**project.services, **{each.name: each for each in services}})


def there(service: Service, number: int = 1, **more: object) -> Container:
    """A container as `up` has made it."""
    given = {
        "id": f"{service.name}{number}id",
        "name": f"demo-{service.name}-{number}",
        "service": service.name,
        "number": number,
        "hash": hashes.resolved(service, {}),
        "image": f"sha256:{service.image}",
        "networks": {"demo_default": "n1"},
        "volumes": DATA if service.volumes else (),
        "labels": {labels.DEPENDS_ON: WAITS if service.depends_on else ""},
    }
    return Container(**{**given, **more})  # type: ignore[arg-type]


def engine(*containers: Container, **more: object) -> Observed:
    given = {
        "containers": containers,
        "networks": {"demo_default": Seen("n1", "demo_default", {labels.PROJECT: "demo", labels.NETWORK: "default"})},
        "volumes": {"demo_data": {labels.PROJECT: "demo", labels.VOLUME: "data"}},
        "images": {"db": "sha256:db", "web": "sha256:web"},
    }
    return Observed(**{**given, **more})  # type: ignore[arg-type]


def dedented(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


UNCHANGED = """
    1. leave container demo-db-1: it is as it should be
    2. leave container demo-web-1: it is as it should be
    3. wait for container demo-db-1: service_healthy: web depends on db: service_healthy
"""
IMAGE_IS_NEW = "image web is now new, it has web"
CASES: dict[str, tuple[Project, Observed, Asked, str]] = {
    "all is new": (
        DEMO,
        Observed(),
        Asked(),
        """
        1. create network demo_default: it is not there
        2. create volume demo_data: it is not there
        3. create container demo-db-1 after 1, 2: db has no container with number 1
        4. create container demo-web-1 after 1: web has no container with number 1
        5. start container demo-db-1 after 3: it is new
        6. wait for container demo-db-1: service_healthy after 3, 5: web depends on db: service_healthy
        7. start container demo-web-1 after 4, 6: it is new
        """,
    ),
    "nothing has changed": (DEMO, engine(there(DB), there(WEB)), Asked(), UNCHANGED),
    "only what it depends on has changed": (
        changed(DEMO, replace(WEB, depends_on={"db": replace(HEALTHY, restart=True)})),
        engine(there(DB), there(WEB)),
        Asked(),
        UNCHANGED,
    ),
    "a variable has changed": (
        changed(DEMO, replace(WEB, environment={"A": "b"})),
        engine(there(DB), there(WEB)),
        Asked(),
        """
        1. leave container demo-db-1: it is as it should be
        2. create container web1id_demo-web-1: its configuration has changed
        3. stop container demo-web-1 after 2: its configuration has changed
        4. remove container demo-web-1 after 3: its configuration has changed
        5. rename container web1id_demo-web-1 to demo-web-1 after 4: its configuration has changed
        6. wait for container demo-db-1: service_healthy: web depends on db: service_healthy
        7. start container demo-web-1 after 5, 6: it is made anew
        """,
    ),
    "and is not to be made anew": (
        changed(DEMO, replace(WEB, environment={"A": "b"})),
        engine(there(DB), there(WEB)),
        Asked(recreate=NEVER),
        UNCHANGED,
    ),
    "the image has changed, and the container has ended": (
        DEMO,
        engine(there(DB), there(WEB, state="exited"), images={"db": "sha256:db", "web": "sha256:new"}),
        Asked(start=False),
        f"""
        1. leave container demo-db-1: it is as it should be
        2. create container web1id_demo-web-1: {IMAGE_IS_NEW}
        3. remove container demo-web-1 after 2: {IMAGE_IS_NEW}
        4. rename container web1id_demo-web-1 to demo-web-1 after 3: {IMAGE_IS_NEW}
        """,
    ),
    "a service that was named is forced": (
        DEMO,
        engine(there(DB), there(WEB)),
        Asked(named=("db",), recreate=ALWAYS, start=False),
        """
        1. create container db1id_demo-db-1: it was asked for (--force-recreate)
        2. stop container demo-db-1 after 1: it was asked for (--force-recreate)
        3. remove container demo-db-1 after 2: it was asked for (--force-recreate)
        4. rename container db1id_demo-db-1 to demo-db-1 after 3: it was asked for (--force-recreate)
        5. leave container demo-web-1: it is as it should be
        """,
    ),
    "more, and a number that is missing": (
        DEMO,
        engine(there(DB), there(WEB), there(WEB, 3)),
        Asked(scales={"web": 3}, start=False),
        """
        1. leave container demo-db-1: it is as it should be
        2. leave container demo-web-1: it is as it should be
        3. leave container demo-web-3: it is as it should be
        4. create container demo-web-2: web has no container with number 2
        """,
    ),
    "fewer: what differs goes first": (
        DEMO,
        engine(there(DB), there(WEB, hash="old"), there(WEB, 2)),
        Asked(start=False),
        """
        1. leave container demo-db-1: it is as it should be
        2. stop container demo-web-1: web has 1 container
        3. remove container demo-web-1 after 2: web has 1 container
        4. leave container demo-web-2: it is as it should be
        """,
    ),
    "one that is restarted with what it depends on": (
        changed(
            DEMO, replace(DB, environment={"A": "b"}), replace(WEB, depends_on={"db": replace(HEALTHY, restart=True)})
        ),
        engine(there(DB, state="exited"), there(WEB)),
        Asked(),
        """
        1. create container db1id_demo-db-1: its configuration has changed
        2. remove container demo-db-1 after 1: its configuration has changed
        3. rename container db1id_demo-db-1 to demo-db-1 after 2: its configuration has changed
        4. leave container demo-web-1: it is as it should be
        5. stop container demo-web-1: db is made anew
        6. start container demo-db-1 after 3: it is made anew
        7. wait for container demo-db-1: service_healthy after 3, 6: web depends on db: service_healthy
        8. start container demo-web-1 after 5, 7: db is made anew
        """,
    ),
    "one in the network of another": (
        changed(DEMO, replace(DB, environment={"A": "b"}), replace(WEB, networks={}, network_mode="service:db")),
        engine(there(DB, state="exited"), there(WEB, state="exited")),
        Asked(start=False),
        """
        1. create container db1id_demo-db-1: its configuration has changed
        2. remove container demo-db-1 after 1: its configuration has changed
        3. rename container db1id_demo-db-1 to demo-db-1 after 2: its configuration has changed
        4. create container web1id_demo-web-1 after 3: it shares what db has, which is made anew
        5. remove container demo-web-1 after 4: it shares what db has, which is made anew
        6. rename container web1id_demo-web-1 to demo-web-1 after 5: it shares what db has, which is made anew
        """,
    ),
    "an up that was interrupted before the name was free": (
        DEMO,
        engine(
            there(DB),
            there(WEB, hash="old"),
            there(WEB, id="new", name="web1id_demo-web-1", state="created", labels={labels.REPLACE: "demo-web-1"}),
        ),
        Asked(start=False),
        """
        1. leave container demo-db-1: it is as it should be
        2. stop container demo-web-1: web has 1 container
        3. remove container demo-web-1 after 2: web has 1 container
        4. rename container web1id_demo-web-1 to demo-web-1 after 3: it has taken the place of another
        """,
    ),
    "a network that has changed": (
        replace(DEMO, networks={"default": Network(name="demo_default", internal=True)}, services={"db": DB}),
        engine(
            there(DB),
            networks={
                "demo_default": Seen(
                    "n1", "demo_default", {labels.PROJECT: "demo", labels.NETWORK: "default", labels.HASH: "old"}
                )
            },
        ),
        Asked(start=False),
        """
        1. stop container demo-db-1: the configuration of network demo_default has changed
        2. remove network demo_default after 1: the configuration of network demo_default has changed
        3. create network demo_default after 2: the configuration of network demo_default has changed
        4. create container db1id_demo-db-1 after 3: network demo_default is made anew
        5. remove container demo-db-1 after 4: network demo_default is made anew
        6. rename container db1id_demo-db-1 to demo-db-1 after 5: network demo_default is made anew
        """,
    ),
    "orphans are removed": (
        replace(DEMO, services={"db": DB}),
        engine(there(DB), there(WEB)),
        Asked(start=False, remove_orphans=True),
        """
        1. leave container demo-db-1: it is as it should be
        2. stop container demo-web-1: the files have no service web (--remove-orphans)
        3. remove container demo-web-1 after 2: the files have no service web (--remove-orphans)
        """,
    ),
    "waiting for all": (
        DEMO,
        engine(there(DB), there(WEB)),
        Asked(wait=True),
        UNCHANGED.rstrip()
        + """
        4. wait for container demo-db-1: running_or_healthy: it was asked for (--wait)
        5. wait for container demo-web-1: running_or_healthy: it was asked for (--wait)
        """,
    ),
}


@pytest.mark.parametrize(("project", "observed", "asked", "steps"), CASES.values(), ids=CASES)
def test_up(project: Project, observed: Observed, asked: Asked, steps: str) -> None:
    assert str(up(project, observed, asked)) == dedented(steps)


HOOKED = replace(WEB, depends_on={}, scale=2, pre_start=(Hook(), Hook(per_replica=True)))
HOOKS: dict[str, tuple[list[Container], Asked, list[str]]] = {
    "all is new": (
        [],
        Asked(),
        [
            "run pre_start 1, 2 for container demo-web-1 after 1: it is new",
            "run pre_start 2 for container demo-web-2 after 2, 3: it is new",
            "start container demo-web-1 after 1, 3: it is new",
            "start container demo-web-2 after 2, 3, 4: it is new",
        ],
    ),
    "never started, because a hook failed": (
        [there(HOOKED, state="created"), there(HOOKED, 2, state="created")],
        Asked(),
        [
            "run pre_start 1, 2 for container demo-web-1: it is created",
            "run pre_start 2 for container demo-web-2 after 1: it is created",
            "start container demo-web-1 after 1: it is created",
            "start container demo-web-2 after 1, 2: it is created",
        ],
    ),
    "stopped": (
        [there(HOOKED, state="exited"), there(HOOKED, 2)],
        Asked(),
        ["start container demo-web-1: it is exited"],
    ),
    "one more": (
        [there(HOOKED)],
        Asked(),
        [
            "run pre_start 2 for container demo-web-2 after 2: it is new",
            "start container demo-web-2 after 2, 3: it is new",
        ],
    ),
    "made anew": (
        [there(HOOKED)],
        Asked(recreate=ALWAYS, scales={"web": 1}),
        [
            "run pre_start 1, 2 for container demo-web-1 after 4: it is made anew",
            "start container demo-web-1 after 4, 5: it is made anew",
        ],
    ),
}


@pytest.mark.parametrize(("found", "asked", "steps"), HOOKS.values(), ids=HOOKS)
def test_what_runs_before_a_container(found: list[Container], asked: Asked, steps: list[str]) -> None:
    """Of the whole service once, with containers that have never been started; of replicas before each of these."""
    graph = up(replace(DEMO, services={"web": HOOKED}), engine(*found), asked)
    said = [str(step).partition(". ")[2] for step in graph]
    assert [line for line in said if line.startswith(("run ", "start "))] == steps


def test_a_container_of_a_hook_is_no_replica_and_goes_with_down() -> None:
    name = "demo-web-pre_start-0"
    left = there(HOOKED, id="left", name=name, oneoff=True, hook="pre_start", number=0, state="exited")
    graph = up(replace(DEMO, services={"web": replace(HOOKED, scale=1)}), engine(there(HOOKED), left), Asked())
    assert [str(step) for step in graph] == ["1. leave container demo-web-1: it is as it should be"]
    assert f"remove container {name}" in str(down(DEMO, engine(there(WEB), left), DownAsked()))
    run = replace(left, hook="", name="demo-web-run-1")
    assert "demo-web-run-1" not in str(down(DEMO, engine(there(WEB), run), DownAsked()))


def test_orphans_are_named_and_kept() -> None:
    graph = up(replace(DEMO, services={"db": DB}), engine(there(DB), there(WEB)), Asked(start=False))
    assert [str(step) for step in graph] == ["1. leave container demo-db-1: it is as it should be"]
    assert graph.warnings[0].startswith("Found orphan containers ([demo-web-1]) for this project.")


def test_a_service_that_is_not_chosen_is_no_orphan() -> None:
    project = replace(DEMO, services={"db": DB}, disabled={"web": WEB})
    assert up(project, engine(there(DB), there(WEB)), Asked()).warnings == ()


REFUSALS: dict[str, tuple[Project, Observed, Asked, str]] = {
    "two of a container with a name": (
        changed(DEMO, replace(WEB, container_name="x")),
        Observed(),
        Asked(scales={"web": 2}),
        'the "web" service has the container name "x", which only one container can have',
    ),
    "more containers than memory": (
        DEMO,
        Observed(),
        Asked(scales={"web": 10**14}),
        "service web: 100000000000000 containers make more than 10000, which are the most",
    ),
    "a circle": (
        changed(DEMO, replace(DB, depends_on={"web": HEALTHY})),
        Observed(),
        Asked(),
        "dependency cycle detected: db -> web -> db",
    ),
    "an external network that is not there": (
        replace(DEMO, networks={"default": Network(name="shared", external=True)}),
        Observed(),
        Asked(),
        "network shared declared as external, but could not be found",
    ),
    "an external volume that is not there": (
        replace(DEMO, volumes={"data": Volume(name="v", external=True)}),
        Observed(),
        Asked(),
        'external volume "v" not found',
    ),
    "a network of another key": (
        DEMO,
        engine(networks={"demo_default": Seen("n1", "demo_default", {labels.PROJECT: "demo"})}),
        Asked(),
        "network demo_default was found but has incorrect label com.docker.compose.network",
    ),
}


@pytest.mark.parametrize(("project", "observed", "asked", "why"), REFUSALS.values(), ids=REFUSALS)
def test_refused(project: Project, observed: Observed, asked: Asked, why: str) -> None:
    with pytest.raises(Refused) as error:
        up(project, observed, asked)
    assert str(error.value).startswith(why)


def test_down_without_files() -> None:
    assert str(down(None, engine(there(DB), there(WEB)), DownAsked(volumes=True))) == dedented(
        """
        1. stop container demo-web-1: down
        2. stop container demo-db-1 after 1: down
        3. remove container demo-db-1 after 2: down
        4. remove container demo-web-1 after 1: down
        5. remove network demo_default after 3, 4: down
        6. remove volume demo_data after 3, 4: down --volumes
        """
    )


def test_down_of_one_service_keeps_what_is_shared() -> None:
    found = engine(there(DB, state="exited"), there(WEB), there(WEB, id="run", oneoff=True, number=0))
    assert str(down(DEMO, found, DownAsked(services=("web",)))) == dedented(
        """
        1. stop container demo-web-1: down
        2. remove container demo-web-1 after 1: down
        """
    )


def test_start_is_behind_the_conditions_of_the_labels() -> None:
    found = [there(DB, state="exited"), there(WEB, state="exited"), there(WEB, 2)]
    assert str(verbs.start(found)) == dedented(
        """
        1. start container demo-db-1: it is exited
        2. wait for container demo-db-1: service_healthy after 1: web depends on db: service_healthy
        3. start container demo-web-1 after 2: it is exited
        """
    )


def test_restart_takes_those_along_that_ask_for_it() -> None:
    asking = {labels.DEPENDS_ON: "db:service_healthy:true"}
    both = [there(DB), there(WEB, labels=asking)]
    assert str(verbs.restart(both, ["db"], None)) == dedented(
        """
        1. restart container demo-db-1: restart
        2. restart container demo-web-1 after 1: db is restarted
        """
    )
    side = Service(name="side", image="web")
    chain = [*both, there(side, labels={labels.DEPENDS_ON: "web:service_started:true"})]
    assert len(verbs.restart(chain, ["db"], None).steps) == 3
    assert len(verbs.restart(both, ["db"], None, dependents=False).steps) == 1


def test_a_rollout_needs_room_for_two() -> None:
    fixed = replace(WEB, ports=(Port(target=80, published="8080"),))
    with pytest.raises(Refused, match="publishes port 8080, which two containers cannot have at once"):
        replacements(changed(DEMO, fixed), engine(there(DB), there(WEB)), Asked())
    free = replace(WEB, ports=(Port(target=80, published="8000-8010"),))
    found = replacements(changed(DEMO, free), engine(there(DB), there(WEB), there(WEB, 2)), Asked())
    assert [(each.name, each.temporary) for each in found] == [
        ("demo-web-1", "web1id_demo-web-1"),
        ("demo-web-2", "web2id_demo-web-2"),
    ]


def test_a_long_chain_of_services() -> None:
    names = [f"s{number:04}" for number in range(3000)]
    services = {
        name: Service(name=name, image="x", depends_on={before: replace(HEALTHY, condition="service_started")})
        for before, name in pairwise(names)
    }
    first = Service(name=names[0], image="x")
    project = Project(name="demo", services={names[0]: first, **services})
    assert len(up(project, Observed(), Asked()).steps) == 6000
