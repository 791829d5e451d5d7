"""Authentication of requests, and what their sender may do.

    accounts   None: there are no accounts, all requests are anonymous
    rights     rules for each repository
    tokens     None: basic authentication only

A request has no credentials (anonymous), a name and password, or a token. A token grants what was granted to it, and
no more than its user may do at this moment: changed rules take effect at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from corten.errors import Unauthorized
from corten.registry.server.htpasswd import Accounts, credentials
from corten.registry.server.rights import ANONYMOUS, EVERYTHING, Rights, Rule
from corten.registry.server.tokens import Claims, Scope, Tokens, parse_scopes

ACTIONS = {"read": "pull", "write": "push", "delete": "delete"}  # our rights in the token specification's words
_AT_A_TIME = 2  # passwords that are checked
_WRONG = "incorrect username or password"
ANONYMOUS_EVERYTHING = Rule((ANONYMOUS,), EVERYTHING.repositories, EVERYTHING.rights)


@dataclass(frozen=True, slots=True)
class Actor:
    """The sender of a request. `claims` are its token's, None without one."""

    user: str
    claims: Claims | None = None

    @property
    def known(self) -> bool:
        """Whether the request is authenticated: by an account, or by a token of ours."""
        return bool(self.user) or self.claims is not None


class Access:
    def __init__(
        self, accounts: Accounts | None = None, rights: Rights | None = None, tokens: Tokens | None = None
    ) -> None:
        self.accounts = accounts
        self.tokens = tokens
        self.rights = rights or Rights([EVERYTHING if accounts else ANONYMOUS_EVERYTHING])
        self._checking = ThreadPoolExecutor(_AT_A_TIME, "password")  # a hash takes long, and others need threads too

    def become(self, other: Access) -> None:
        """Take over the accounts and rules of `other`; tokens stay as they are."""
        self.accounts, self.rights = other.accounts, other.rights

    async def identify(self, authorization: str) -> Actor:
        """The sender of a request with this header. Raises Unauthorized for wrong credentials."""
        if not authorization or self.accounts is None:
            return Actor("")
        scheme, _, token = authorization.partition(" ")
        if self.tokens and scheme.lower() == "bearer":
            claims = self.tokens.read(token.strip())
            if claims.user and not self.accounts.hash_of(claims.user):
                raise Unauthorized("the token's account is gone")
            return Actor(claims.user, claims)
        return Actor(await self.user_of(credentials(authorization)))

    async def user_of(self, pair: tuple[str, str] | None) -> str:
        """The user with this name and password; one in the cache does not wait for others that are checked.

        Raises Unauthorized when they are wrong or absent.
        """
        accounts = self.accounts
        if accounts is None or pair is None:
            raise Unauthorized(_WRONG)
        if not accounts.is_cached(*pair):
            loop = asyncio.get_running_loop()
            if not await loop.run_in_executor(self._checking, accounts.check, *pair):
                raise Unauthorized(_WRONG)
        return pair[0]

    def close(self) -> None:
        """Check no more passwords."""
        self._checking.shutdown(wait=False, cancel_futures=True)

    def may(self, actor: Actor, right: str, repository: str) -> bool:
        granted = actor.claims is None or actor.claims.allows("repository", repository, ACTIONS[right])
        return granted and right in self.rights.of(actor.user, repository)

    def could_read(self, actor: Actor, repository: str) -> bool:
        """Whether a token for one more repository would let the sender read it.

        False when this token was requested for it.
        """
        if actor.claims is None or any(scope.name == repository for scope in actor.claims.scopes):
            return False
        return "read" in self.rights.of(actor.user, repository)

    def reads(self, actor: Actor) -> Callable[[str], bool]:
        """Which repositories a list may show: by the user's own rights, as a token for a list names no repository."""
        return lambda repository: "read" in self.rights.of(actor.user, repository)

    def grant(self, user: str, scopes: list[str]) -> list[Scope]:
        """Of the scopes that are asked for, what `user` has."""
        return [self._granted(user, scope) for scope in parse_scopes(scopes)]

    def _granted(self, user: str, scope: Scope) -> Scope:
        if scope.type == "registry" and scope.name == "catalog":
            return Scope(scope.type, scope.name, frozenset("*"))  # it lists what the user may read
        if scope.type != "repository":
            return Scope(scope.type, scope.name, frozenset())
        has = {ACTIONS[right] for right in self.rights.of(user, scope.name)}
        return Scope(scope.type, scope.name, frozenset(has if "*" in scope.actions else has & scope.actions))
