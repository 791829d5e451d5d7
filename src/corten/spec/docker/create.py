"""The body of POST /containers/create."""

from __future__ import annotations

from corten.spec.docker.config import Config
from corten.spec.docker.host_config import HostConfig
from corten.spec.docker.struct import field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.spec.docker.config import NetworkingConfig


class CreateRequest(Config, HostConfig, go="container.CreateRequest", name="ContainerConfigWrapper"):
    """Config's fields, and two members more. Those of a HostConfig may stand beside them, as they did before there was
    one; `cpuset` is what `cpuset_cpus` was called then."""

    host_config: HostConfig | None = None
    networking_config: NetworkingConfig | None = None
    cpuset: str = field(default="", omitempty=True)
