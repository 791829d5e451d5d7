"""Who asks, and what that somebody may do.

    accounts   None: there are no accounts, everybody is anonymous
    rights     rules for each repository
    tokens     None: basic authentication only

A request comes with nothing (anonymous), with a name and password, or with a token. A token can do what was granted to
it, and no more than its user may do at this moment: rules that are changed hold at once.
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
EVERYBODY_EVERYTHING = Rule((ANONYMOUS,), EVERYTHING.repositories, EVERYTHING.rights)


@dataclass(frozen=True, slots=True)
class Actor:
    """`claims` are those of the token that was shown, None without one."""

    user: str
    claims: Claims | None = None

    @property
    def known(self) -> bool:
        """Has somebody vouched for this request: an account, or our own token endpoint?"""
        return bool(self.user) or self.claims is not None


class Access:
    def __init__(
        self, accounts: Accounts | None = None, rights: Rights | None = None, tokens: Tokens | None = None
    ) -> None:
        self.accounts = accounts
        self.tokens = tokens
        self.rights = rights or Rights([EVERYTHING if accounts else EVERYBODY_EVERYTHING])
        self._checking = ThreadPoolExecutor(_AT_A_TIME, "password")  # a hash takes long, and others need threads too

    def become(self, other: Access) -> None:
        """Other accounts and rules from now on; tokens stay as they are."""
        self.accounts, self.rights = other.accounts, other.rights

    async def identify(self, authorization: str) -> Actor:
        """Unauthorized for credentials that are wrong."""
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
        """Unauthorized. Who was let in before does not wait for passwords that others try out."""
        accounts = self.accounts
        if accounts is None or pair is None:
            raise Unauthorized(_WRONG)
        if not accounts.remembers(*pair):
            loop = asyncio.get_running_loop()
            if not await loop.run_in_executor(self._checking, accounts.check, *pair):
                raise Unauthorized(_WRONG)
        return pair[0]

    def close(self) -> None:
        """Nobody is asked about any more."""
        self._checking.shutdown(wait=False, cancel_futures=True)

    def may(self, actor: Actor, right: str, repository: str) -> bool:
        granted = actor.claims is None or actor.claims.allows("repository", repository, ACTIONS[right])
        return granted and right in self.rights.of(actor.user, repository)

    def could_read(self, actor: Actor, repository: str) -> bool:
        """Would a token for one more repository let the sender read it? Not when this one was asked for that."""
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
