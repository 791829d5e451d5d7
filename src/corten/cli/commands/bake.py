"""corten bake: make the images that a bake file describes, side by side."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, LIST, STRING, flag
from corten.cli.output import STDERR, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.baketargets import Chosen
    from corten.cli.flags import Flags
    from corten.cli.session import Session

_DEFAULT = "default"
_PASSED = ("no-cache", "pull", "push", "load")


def run(session: Session, flags: Flags) -> int:
    from corten.cli import bakefiles, baketargets

    words = flags.words or [_DEFAULT]
    chosen = baketargets.choose(bakefiles.read(flags.many("file")), words, flags.many("set"))
    if flags.on("print"):
        return _print(chosen)
    from corten.cli import baking, buildprogress, buildreport

    work = baking.Baking(session, chosen, [f"--{name}" for name in _PASSED if flags.on(name)])
    work.run(buildprogress.view(flags.text("progress"), STDERR))
    if flags.text("metadata-file"):
        found = {name: buildreport.metadata(made["Answer"]) for name, made in work.made.items()}
        buildreport.write_metadata(flags.text("metadata-file"), found)
    return 0


def _print(chosen: Chosen) -> int:
    import json

    shown = {"group": {_DEFAULT: {"targets": chosen.asked}}, "target": chosen.targets}
    out(json.dumps(shown, indent=2).replace("${", "$${").replace("%{", "%%{"))  # as a bake file has it
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] [TARGET...]",
    "Make the images that a bake file describes",
    (
        flag("file", LIST, "A bake or Compose file (without this those that are here; - is standard input)", "f"),
        flag("load", BOOL, "The same as --set=*.output=type=image"),
        flag("metadata-file", STRING, "Write what is known of the results to a file, as JSON"),
        flag("no-cache", BOOL, "Do not use what was made before"),
        flag("print", BOOL, "Show what would be made, and make nothing"),
        flag("progress", STRING, "How progress is shown: auto, plain, tty, rawjson or quiet", default="auto"),
        flag("pull", BOOL, "Ask the registry for newer base images"),
        flag("push", BOOL, "Push the images of all targets"),
        flag("set", LIST, "Change a value of targets (TARGET.KEY=VALUE)"),
    ),
)
