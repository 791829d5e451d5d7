"""container.Config: what a container runs, and what an image says about that."""

from __future__ import annotations

from corten.spec.docker.struct import Struct, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.spec.docker.gotypes import Duration, PathSet, PortSet, StrSlice
    from corten.spec.docker.networking import EndpointSettings


class HealthConfig(Struct, go="container.HealthConfig"):
    """Durations in nanoseconds; 0 means Docker's default."""

    test: list[str] | None = field(default=None, omitempty=True)
    interval: Duration = field(default=0, omitempty=True)
    timeout: Duration = field(default=0, omitempty=True)
    start_period: Duration = field(default=0, omitempty=True)
    start_interval: Duration = field(default=0, omitempty=True, since=(1, 44))
    retries: int = field(default=0, omitempty=True)


class Config(Struct, go="container.Config", name="ContainerConfigWrapper"):
    """`stop_timeout` in seconds, None for Docker's default."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: PortSet | None = field(default=None, omitempty=True)
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: StrSlice | None = None
    healthcheck: HealthConfig | None = field(default=None, omitempty=True)
    args_escaped: bool = field(default=False, omitempty=True)
    image: str = ""
    volumes: PathSet | None = None
    working_dir: str = ""
    entrypoint: StrSlice | None = None
    network_disabled: bool = field(default=False, omitempty=True)
    mac_address: str = field(default="", omitempty=True)
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = field(default="", omitempty=True)
    stop_timeout: int | None = field(default=None, omitempty=True)
    shell: StrSlice | None = field(default=None, omitempty=True)

    def command_line(self) -> list[str]:
        """Entrypoint and Cmd as one argument list; the first is the program."""
        return [*(self.entrypoint or ()), *(self.cmd or ())]


class ImageConfig(Config, go="container.Config", name="Config"):
    """The `config` of an OCI image, which has the same fields."""


class NetworkingConfig(Struct, go="network.NetworkingConfig"):
    """By the names or ids of the networks."""

    endpoints_config: dict[str, EndpointSettings] | None = None
