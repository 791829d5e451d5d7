"""registry.AuthConfig: credentials for a registry, in X-Registry-Auth and as the body of POST /auth."""

from __future__ import annotations

from corten.spec.docker.struct import Struct, field


class AuthConfig(Struct, go="registry.AuthConfig"):
    username: str = field(default="", key="username", omitempty=True)
    password: str = field(default="", key="password", omitempty=True)
    auth: str = field(default="", key="auth", omitempty=True)
    email: str = field(default="", key="email", omitempty=True)
    serveraddress: str = field(default="", key="serveraddress", omitempty=True)
    identitytoken: str = field(default="", key="identitytoken", omitempty=True)
    registrytoken: str = field(default="", key="registrytoken", omitempty=True)
