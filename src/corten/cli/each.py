"""Doing one thing to each of several objects: go on after a failure, and report at the end."""

from __future__ import annotations

from corten.cli.errors import CommandError
from corten.cli.output import err, out
from corten.client.errors import ApiError
from corten.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def daemon_message(error: ApiError) -> str:
    return f"Error response from daemon: {error}"


def each(
    names: Iterable[str],
    act: Callable[[str], object],
    echo: bool = True,
    forgive: Callable[[ApiError], bool] = lambda _error: False,
) -> int:
    """Call `act` for every name and print the name when it worked; 1 when the daemon refused one it should not have.

    A refusal is shown at once; one that `forgive` accepts is shown too, but does not count.
    """
    code = 0
    for name in names:
        try:
            act(name)
        except ApiError as error:
            err(daemon_message(error))
            code = code if forgive(error) else 1
            continue
        except (CommandError, Invalid) as error:
            err(str(error))
            code = 1
            continue
        if echo:
            out(name)
    return code
