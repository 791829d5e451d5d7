"""corten build: make an image of a Dockerfile."""

from __future__ import annotations

from corten.cli import building
from corten.cli.command import Command
from corten.cli.flags import BOOL, BYTES, LABEL, LIST, STRING, flag, lazy
from corten.cli.output import STDERR, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session

HOSTS = lazy("list", (), "cli.options.texts", "parse_extra_host", many=True)
ULIMIT = lazy("ulimit", (), "cli.options.resources", "parse_ulimit", many=True)


def run(session: Session, flags: Flags) -> int:
    from corten.cli import buildprogress, buildreport

    asked = building.asked(session, flags)
    kind = "quiet" if flags.on("quiet") or flags.on("check") else flags.text("progress")
    view = buildprogress.view(kind, STDERR)
    made = buildprogress.follow(
        asked.begin(session.client, view.end).documents(), view, "" if asked.debug else buildprogress.HINT
    )
    if flags.on("check"):
        return buildreport.checked(made["Check"])
    if asked.caches is not None:
        asked.caches.written(made["Answer"])
    if flags.text("iidfile"):
        buildreport.write("iidfile", flags.text("iidfile"), made["ID"])
    if flags.text("metadata-file"):
        buildreport.write_metadata(flags.text("metadata-file"), buildreport.metadata(made["Answer"]))
    if flags.on("quiet") and not any(output.place == "-" for output in asked.outputs):
        out(made["ID"])
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] PATH | URL | -",
    "Make an image of a Dockerfile",
    (
        flag("add-host", HOSTS, "Add a host for RUN (NAME:ADDRESS)"),
        flag("allow", LIST, "What steps may do (device, device=NAME, network.host)"),
        flag("annotation", LIST, "Annotate the image ([manifest|index|...[PLATFORM]:]KEY=VALUE)"),
        flag("attest", LIST, "What to attest of the image (type=sbom; type=provenance,mode=min)"),
        flag("build-context", LIST, "A further context (NAME=PATH, NAME=URL or NAME=docker-image://IMAGE)"),
        flag("build-arg", LIST, "Set a variable of the Dockerfile (NAME=VALUE, or NAME for ours)"),
        flag("cache-from", LIST, "A cache to look in (IMAGE, type=registry,ref=IMAGE or type=local,src=DIRECTORY)"),
        flag("cache-to", LIST, "Where the cache goes to (type=inline; registry,ref=IMAGE; local,dest=DIRECTORY)"),
        flag("check", BOOL, "Show what is to be said of the Dockerfile, and build nothing"),
        flag("debug-shell", BOOL, "Open a shell in the state before a step that has failed"),
        flag("file", STRING, "The Dockerfile (PATH/Dockerfile without this; - is standard input)", "f"),
        flag("iidfile", STRING, "Write the image's ID to a file"),
        flag("label", LABEL, "Set a label of the image"),
        flag("load", BOOL, "The same as --output=type=image"),
        flag("memory", BYTES, "Memory limit of each RUN", "m"),
        flag("metadata-file", STRING, "Write what is known of the result to a file, as JSON"),
        flag("network", STRING, "Network of RUN", default="default"),
        flag("no-cache", BOOL, "Do not use what was made before"),
        flag("no-cache-filter", LIST, "Do not use what was made before of these stages"),
        flag("output", LIST, "What becomes of the result (type=local,dest=PATH; DIRECTORY; - is a tar)", "o"),
        flag("platform", LIST, "Platforms of the image (os/arch/variant, several with commas)"),
        flag("progress", STRING, "How progress is shown: auto, plain, tty, rawjson or quiet", default="auto"),
        flag("provenance", STRING, "How the image was made, beside it: true, false, or mode=min or max"),
        flag("sbom", STRING, "Which packages are in the image, beside it: true or false"),
        flag("push", BOOL, "The same as --output=type=registry"),
        flag("pull", BOOL, "Ask the registry for newer base images"),
        flag("quiet", BOOL, "Show only the image's ID", "q"),
        flag("secret", LIST, "What steps may read (id=ID[,src=PATH|,env=NAME])"),
        flag("shm-size", BYTES, "Size of /dev/shm in each RUN"),
        flag("ssh", LIST, "An SSH agent that steps may use (default, or ID[=SOCKET])"),
        flag("tag", LIST, "Name the image (NAME:TAG)", "t"),
        flag("target", STRING, "The stage to make"),
        flag("ulimit", ULIMIT, "Limit of a resource in each RUN (nofile=1024:2048)"),
    ),
    least=1,
    most=1,
)
