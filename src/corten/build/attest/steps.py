"""The steps of a plan in the shape of BuildKit's LLB as JSON, for provenance: `id`, `op`, and `inputs` by id.

What a RUN gets without its Dockerfile saying so (proxies, contents of secrets) is in none of them.
"""

from __future__ import annotations

from corten.build.attributes import redacted
from corten.build.contract import Bind, CacheMount, CopyStep, RunStep, StepMount
from corten.build.plan.graph import Base, Local, Node, Plan, Remote, Repository, Settings, Step, Work
from corten.spec.dockerfile import places
from corten.spec.dockerfile.mounts import SecretMount, SshMount, TmpfsMount
from corten.spec.json import Json

# pb.MountType and pb.NetMode of BuildKit's ops.proto.
_KINDS: dict[type[StepMount], int] = {Bind: 0, SecretMount: 1, SshMount: 2, CacheMount: 3, TmpfsMount: 4}
_NETWORKS = {"default": 0, "host": 1, "none": 2}


def numbered(plan: Plan) -> dict[Node, str]:
    """The name of each node; an image of no files is none."""
    nodes = [node for node in plan.nodes if not (isinstance(node, Base) and node.image is None)]
    return {node: f"step{number}" for number, node in enumerate(nodes)}


def steps(plan: Plan) -> list[Json]:
    names = numbered(plan)
    found = []
    for node, name in names.items():
        above = (node.parent, *node.origins) if isinstance(node, Step) else ()
        inputs = [f"{names[each]}:0" for each in dict.fromkeys(above) if each in names]
        found.append({"id": name, "op": {"Op": _operation(node)}, **({"inputs": inputs} if inputs else {})})
    return found


def sources(plan: Plan, name: str, text: bytes) -> Json:
    """The Dockerfile, and the lines of each step."""
    locations = {
        step: {"locations": [{"ranges": places.ranges([node.lines])}]}
        for node, step in numbered(plan).items()
        if isinstance(node, (Step, Remote, Repository))
    }
    return {"locations": locations, "infos": [places.source(name, text)]}


def _operation(node: Node) -> Json:
    match node:
        case Base():
            return {"source": {"identifier": f"docker-image://{node.ref}"}}
        case Local():
            return {"source": {"identifier": f"local://{node.source}"}}
        case Remote():
            return {"source": {"identifier": redacted(node.url)}}
        case Repository():
            return {"source": {"identifier": f"git://{node.url.shown}"}}
        case Step():
            return _work(node.work)


def _work(work: Work) -> Json:
    match work:
        case RunStep():
            meta = {
                "args": list(work.args),
                "env": [redacted(entry) for entry in work.env],
                "cwd": work.cwd,
                "user": work.user,
            }
            mounts = [{"dest": mount.target, "mountType": _KINDS[type(mount)]} for mount in work.mounts]
            return {"exec": {"meta": meta, "mounts": mounts, "network": _NETWORKS.get(work.network, 0)}}
        case CopyStep() if work.sources:
            copies = [{"src": path, "dest": work.target} for source in work.sources for path in source.paths]
            return {"file": {"actions": [{"Action": {"copy": each}} for each in copies]}}
        case CopyStep():
            return {"file": {"actions": [{"Action": {"mkdir": {"path": work.target, "makeParents": True}}}]}}
        case Settings():
            return {}
