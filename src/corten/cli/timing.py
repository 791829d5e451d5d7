"""The table of `run --timing`: where the start of a container spent its time, client and daemon side by side."""

from __future__ import annotations

BAR = 30


def table(client: dict[str, float], daemon: dict[str, float]) -> str:
    """Rows of phase, milliseconds and a bar; the daemon's phases are part of the client's requests."""
    names = [*client, *daemon]
    width = max(len(name) for name in [*names, "daemon, inside create and start"])
    longest = max([*client.values(), *daemon.values(), 1e-9])
    lines = _section("client", client, width, longest)
    if daemon:
        lines += ["", *_section("daemon, inside create and start", daemon, width, longest)]
    return "\n".join(lines)


def _section(title: str, phases: dict[str, float], width: int, longest: float) -> list[str]:
    rows = [f"{title.ljust(width)}   {'ms':>9}"]
    for name, seconds in phases.items():
        filled = round(BAR * seconds / longest)
        rows.append(f"  {name.ljust(width - 2)}   {seconds * 1000:9.2f}  {'#' * filled}".rstrip())
    rows.append(f"  {'total'.ljust(width - 2)}   {sum(phases.values()) * 1000:9.2f}")
    return rows
