"""The noun `Images`: names to images, pulling, making and removing them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

from corten.aio.threads import to_disk_thread
from corten.errors import Conflict, Invalid, NotFound
from corten.images import manifests as image_manifests
from corten.images import variants
from corten.images import view as image_view
from corten.images.collect import NOTHING_KEPT, RESUMABLE, Kept
from corten.images.commit import Committer, Request
from corten.images.image import Image
from corten.images.lookup import Lookup, named
from corten.images.progress import Emit, status, stream
from corten.images.remove import Remover, Users
from corten.images.store import ImageStore
from corten.images.unpack import Workers
from corten.images.uses import Uses
from corten.registry.client import archives
from corten.registry.client.registry import Registry
from corten.snapshots.stored import StoredTrees
from corten.spec import platform as platforms
from corten.spec.docker.config import Config
from corten.spec.docker.filters import Filters
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor
from corten.spec.platform import Platform
from corten.spec.reference import Reference, parse
from corten.store.blobs import Blobs
from corten.store.database import Database
from corten.store.feed import Readers
from corten.store.images import ImageRecord
from corten.store.records import Records

if TYPE_CHECKING:  # loaded with the first use: of most of these a daemon has none in its first days
    from corten.images.builtin import Builtin
    from corten.images.importing import Importer
    from corten.images.load import Loader
    from corten.images.pull import Puller
    from corten.images.push import Pusher
    from corten.images.remote import Remote
    from corten.images.save import Saver
    from corten.images.source import Source

Rows = list[Json]  # a name of its own, because `list` is a method below
_UPLOADS = 256  # loads and imports at a time that have sent something (docs/images.md)


OnEvent = Callable[[str, str, dict[str, str]], None]


def no_event(action: str, id: str, attributes: dict[str, str]) -> None:
    return


def no_users(image: str) -> Sequence[tuple[str, bool]]:
    return ()


class Images:
    """`users` gives the containers that use an image; `on_event` gets (action, id or name, attributes), `on_pull` is
    called when an image was pulled; `kept` is what the cache of builds keeps of blobs and trees.

    `recover` once at start, before anything else; `close` at the end, in the event loop.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        trees: StoredTrees,
        workers: Workers,
        registry: Registry,
        users: Users = no_users,
        driver: str = "overlay2",
        on_event: OnEvent = no_event,
        on_pull: Callable[[], None] = lambda: None,
        kept: Kept = NOTHING_KEPT,
    ) -> None:
        self.uses = Uses(Records(database))
        self._users = users
        self._on_event = on_event
        self._on_pull = on_pull
        self.store = store = ImageStore(database, blobs, trees, workers, kept)
        self._records = store.records
        self._lookup = Lookup(store.records)
        self._registry = registry
        self._driver = driver
        self._readers = Readers(_UPLOADS, "loads and imports")
        self._committer = Committer(store)
        self._remover = Remover(store, users, self.publish)

    @cached_property
    def _remote(self) -> Remote:
        from corten.images.remote import Remote

        return Remote(self._registry)

    @cached_property
    def _builtin(self) -> Builtin:
        from corten.images.builtin import Builtin

        return Builtin(self.store)

    @cached_property
    def _loader(self) -> Loader:
        from corten.images.load import Loader

        return Loader(self.store, self._readers, self._loaded)

    @cached_property
    def _importer(self) -> Importer:
        from corten.images.importing import Importer

        return Importer(self.store, self._readers, self._imported)

    @cached_property
    def _saver(self) -> Saver:
        from corten.images.save import Saver

        return Saver(self.store, self._lookup, self._saved)

    @cached_property
    def _pusher(self) -> Pusher:
        from corten.images.push import Pusher

        return Pusher(self.store, self._registry, self._pushed)

    @cached_property
    def _puller(self) -> Puller:
        from corten.images.pull import Puller

        return Puller(self.store, self._registry, self._pulled)

    def recover(self) -> None:
        """At start: remove what the work of an earlier daemon left, or keep it to be resumed."""
        self.store.blobs.sweep()
        self.store.trees.tree_store.sweep()
        self.store.collector.everything(RESUMABLE)

    def collect(self) -> None:
        """Remove trees that nothing needs; to be called after the removal of a container whose image is gone."""
        self.store.collector.trees()

    def used(self, id: str) -> None:
        """Note that a container of this image starts or ends: garbage collection goes by the time of that."""
        self.uses.note(id)

    async def close(self) -> None:
        self.uses.flush()
        await self._registry.close()

    # ------------------------------------------------------------------------------------------------- looking up

    def resolve(self, ref: str) -> Image:
        """The image of a tag, a digest, an id or the unique start of one. Raises NotFound."""
        return self._lookup.resolve(ref)

    async def provide(self, ref: str, platform: Platform | None = None) -> Image:
        """`resolve` for a container to be made: an image that is built in is made when it is not here, and one of
        another platform is taken from the index that it came in. Raises NotFound when it is for none that fits."""
        found = await self._provide(ref)
        actual = found.config.platform
        if platform is None or actual is None or platforms.fits(actual, platform):
            return found
        return self.resolve(await self._variant(self._lookup.find(found.id)[0], ref, platform))

    async def _variant(self, record: ImageRecord, ref: str, platform: Platform) -> str:
        id = await variants.image(self.store, record, platform)
        if id is None:
            raise NotFound(
                f"image with reference {ref} was found but its platform ({record.config.platform}) does not match the "
                f"specified platform ({platform})"
            )
        return id

    async def _provide(self, ref: str) -> Image:
        try:
            return self.resolve(ref)
        except NotFound:
            from corten.images.builtin import MADE_OF

            try:
                reference = parse(ref).tagged
            except Invalid:
                reference = None
            if reference not in MADE_OF:
                raise
        return self.resolve(await to_disk_thread(self._builtin.ensure, reference))

    def list(
        self,
        filters: Mapping[str, Iterable[str]] | None = None,
        all: bool = False,
        shared_size: bool = False,
        manifests: bool = False,
    ) -> Rows:
        """Docker's rows, newest first. `all` changes nothing: there are no intermediate images here. `manifests`: with
        what there is of each image's index."""
        names = self._records.names()
        rows = [(record, *names.get(record.id, ([], []))) for record in self._records.all()]
        asked = Filters(filters)
        marks = {*asked.get("before", ()), *asked.get("since", ())}
        created = {mark: image_view.nanoseconds(self._lookup.find(mark)[0].created) for mark in marks}
        shared = self._shared([record for record, _, _ in rows]) if shared_size else {}
        ours = variants.hidden((record for record, _, _ in rows), names)
        kept = image_view.select([row for row in rows if row[0].id not in ours], asked, created)
        here = {record.id for record, _, _ in rows}
        found = [
            image_view.summary(
                record, tags, d, shared.get(record.id, -1), record.parent if record.parent in here else ""
            )
            for record, tags, d in kept
        ]
        if manifests:
            for row, (record, _, _) in zip(found, kept):
                row["Manifests"] = self.manifests(record)
        return found

    def manifests(self, record: ImageRecord) -> Rows:
        """Docker's ManifestSummary, of each image of its index, or of the one that it is."""
        return image_manifests.summaries(self.store, record, self._users)

    def _shared(self, records: Sequence[ImageRecord]) -> dict[str, int]:
        count: dict[str, int] = {}
        for record in records:
            for name in record.chain:
                count[name] = count.get(name, 0) + 1
        tree_store = self.store.trees.tree_store
        return {record.id: sum(tree_store.size(name) for name in record.chain if count[name] > 1) for record in records}

    def inspect(self, ref: str, variant: str = "", manifests: bool = False) -> Json:
        """Docker's answer. `variant` is the id of the image that it is of, where that belongs to the one named `ref`;
        `manifests`: with what there is of its index, which reads blobs. Raises NotFound."""
        try:
            record, _ = self._lookup.find(ref)
        except Invalid:  # `docker inspect NAME` asks here whether it is an image's before it asks for a network, say
            raise NotFound(f"No such image: {ref}") from None
        names = (self._records.tags(record.id), self._records.digests(record.id))
        every = self.manifests(record) if manifests else None
        record = self._lookup.find(variant)[0] if variant else record
        driver = {"Name": self._driver, "Data": self._places(record)}
        parent = record.parent if record.parent and self._records.get(record.parent) is not None else ""
        shown = image_view.details(record, *names, driver, parent)
        return {**shown, "Manifests": every} if every is not None else shown

    def lineage(self, id: str) -> Sequence[str]:
        """The image, the one that it was committed on, and so on, as far as they are here."""
        found, record = [id], self._records.get(id)
        while record is not None and record.parent and record.parent not in found:
            record = self._records.get(record.parent)
            if record is not None:
                found.append(record.id)
        return found

    def _places(self, record: ImageRecord) -> dict[str, str] | None:
        """Of the image's tree; None when it has no layers, or its tree is lost."""
        try:
            return self.store.trees.places(record.chain[-1]) if record.chain else None
        except (NotFound, Conflict):
            return None

    def history(self, ref: str, variant: str = "") -> Rows:
        """Docker's rows; `variant` as for `inspect`."""
        record, _ = self._lookup.find(variant or ref)
        tree_store = self.store.trees.tree_store
        sizes = {name: tree_store.size(name) for name in record.chain}
        return image_view.history(record, self._records.tags(record.id), sizes)

    # --------------------------------------------------------------------------------------------- pull, load, push

    def pull(
        self, ref: str, tag: str | None = None, platform: str | None = None, auth: Json | None = None
    ) -> AsyncIterator[Json]:
        """Docker's messages while it pulls. `tag` may be a tag or a digest; with neither, every tag is pulled.

        Raises before the first message: Invalid, NotFound, Unauthorized, Unavailable, Failed.
        """
        from corten.images.builtin import MADE_OF
        from corten.images.pull import EVERY

        reference = named(ref, tag or "")
        if reference.tagged in MADE_OF:
            wanted = platforms.runnable(platform) if platform and platform != EVERY else None
            if wanted is not None and not platforms.fits(platforms.host(), wanted):
                raise NotFound(f"{reference.familiar} is made for {platforms.host()} here, not for {wanted}")
            return stream(lambda emit: self._pull_builtin(reference.tagged, emit))
        return self._puller.pull(reference, platform, auth)

    async def _pull_builtin(self, reference: Reference, emit: Emit) -> None:
        from corten.images.builtin import MADE_OF

        emit({"status": f"Pulling from {reference.path}", "id": reference.tag})
        id, new = await to_disk_thread(self._builtin.complete, reference)
        made_of = MADE_OF[reference]
        emit(status(f"{reference.familiar_name} is built in: it is made from this machine's {made_of}"))
        digest = next(iter(self._records.digests(id))).partition("@")[2]
        emit(status(f"Digest: {digest}"))
        done = "Made" if new else "Image is up to date for"
        emit(status(f"Status: {done} {reference.familiar}"))
        self._pulled(reference)

    def _pulled(self, reference: Reference) -> None:
        self.publish("pull", reference.familiar, {"name": reference.familiar_name})
        id = self._lookup.by_name(reference)[1]
        if id is not None:
            self.uses.note(id)
        self._on_pull()

    def load(
        self, body: AsyncIterator[bytes], quiet: bool = False, platforms: Sequence[Platform] = ()
    ) -> AsyncIterator[Json]:
        """Images from a docker-archive or an OCI image layout, compressed or not; for these platforms alone, where any
        is named."""
        return self._loader.load(body, quiet, platforms)

    def _loaded(self, id: str, names: Sequence[str]) -> None:
        self.publish("load", id, {"name": names[0] if names else id})

    def import_(
        self,
        source: AsyncIterator[bytes] | str,
        repo: str = "",
        tag: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        platform: str | None = None,
    ) -> AsyncIterator[Json]:
        """An image from the tar of a root file system, as it is sent or at a URL. The last message has the id.

        Raises Invalid at once.
        """
        from corten.images.importing import SENT

        name = named(repo, tag).tagged if repo else None
        if name is not None and name.digest:
            raise Invalid("cannot import digest reference")
        if isinstance(source, str):
            url = archives.address(source)
            opened, origin = self._registry.archive(url), archives.shown(url)
        else:
            opened, origin = nullcontext(source), SENT
        return self._importer.import_(opened, origin, name, message, changes, platform)

    def download(self, url: str) -> AbstractAsyncContextManager[archives.Download]:
        """What is at an address of the web, as it comes. Raises Invalid for what is none, and `archives.download`'s."""
        return self._registry.download(archives.address(url))

    def _imported(self, id: str, name: str) -> None:
        self.publish("import", id, {"name": name or id})

    def save(
        self, refs: Sequence[str], platform: str | None = None, since: str = "", present: Iterable[str] = ()
    ) -> AsyncIterator[bytes]:
        """A tar that `load` takes. A repository without a tag stands for all its tags. An image with an index is saved
        with all that is here of it, or for `platform` alone. Raises NotFound at once.

        Layers that the image `since` has, or that are among the chain ids `present`, are left out: the receiver's
        `load` has them.
        """
        return self._saver.save(refs, platform, since, present)

    def _saved(self, id: str) -> None:
        self.publish("save", id, {"name": id})

    def present(self, chains: Iterable[str]) -> Sequence[str]:
        """Those of these chain ids whose layer `load` can take from an image that is here."""
        wanted = set(chains)
        found = {
            chain
            for record in self._records.all()
            for chain, layer in zip(record.chain, record.layers)
            if chain in wanted and self.store.blobs.has(layer.digest)
        }
        return sorted(found)

    def push(
        self, repo: str, tag: str = "", auth: Json | None = None, platform: str | None = None
    ) -> AsyncIterator[Json]:
        """Docker's messages while it pushes; every tag of the repository without `tag`.

        Raises NotFound, or Invalid for a digest, at once.
        """
        reference = named(repo, tag)
        if reference.digest:
            raise Invalid("cannot push a digest reference")
        if reference.tag and self._records.by_tag(str(reference)):
            return self._pusher.push([(reference, self._lookup.find(str(reference))[0])], auth, platform)
        known = [] if reference.tag else [parse(name) for name in self._lookup.tags(reference.name)]
        if not known:
            raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
        return self._pusher.push([(each, self._lookup.find(str(each))[0]) for each in known], auth, platform)

    async def push_content(
        self, reference: Reference, digest: str, under: str, auth: Json | None, id: str, emit: Emit
    ) -> None:
        """Push a manifest or an index, whose blobs are in the store and leased, under a tag or its digest. The image
        `id`, where it is not "", is found by that digest then."""
        await self._pusher.push_content(reference, digest, under, auth, emit)
        if id:
            self._records.name_digest(f"{reference.name}@{digest}", id)

    async def push_blobs(
        self, reference: Reference, blobs: Sequence[Descriptor], manifest: Descriptor, auth: Json | None, emit: Emit
    ) -> None:
        """Push blobs and the manifest that names them, all in the store and leased, under a tag."""
        await self._pusher.push_blobs(reference, blobs, manifest, auth, emit)

    def source(self, reference: Reference, auth: Json | None) -> Source:
        """What a registry has under a name."""
        from corten.images.source import Source

        return Source(self._registry, reference, auth)

    def _pushed(self, reference: Reference) -> None:
        self.publish("push", reference.familiar, {"name": reference.familiar_name})

    async def login(self, auth: Json) -> str:
        """Try credentials; returns an identity token, or "".

        Raises Unauthorized, Failed, or Unavailable without an answer.
        """
        return await self._registry.login(auth)

    async def distribution(self, ref: str, auth: Json | None = None) -> Json:
        """What a registry says about a reference, without pulling: Docker's DistributionInspect."""
        return await self._remote.distribution(ref, auth)

    async def search(self, term: str, limit: int, filters: Filters, auth: Json | None = None) -> Rows:
        """Docker's rows of repositories that a registry has."""
        return await self._remote.search(term, limit, filters, auth)

    def layers_size(self) -> int:
        """Bytes of all layers that images have, each counted once."""
        names = {name for record in self._records.all() for name in record.chain}
        return sum(self.store.trees.tree_store.shares(names).values())

    async def commit(
        self, image: str, layer: AsyncIterator[bytes], wanted: Request, config: Config, settled: Callable[[], None]
    ) -> str:
        """A new image on top of `image` ("" for none); its id. `layer` is the tar of what is new.

        Raises Invalid for bad changes.
        """
        name = named(wanted.repo, wanted.tag).tagged if wanted.repo else None
        if name is not None and name.digest:
            raise Invalid("refusing to create a tag with a digest reference")
        parent = self._records.get(image) if image else None
        if image and parent is None:
            raise Conflict(f"image {image} of the container is gone; it can be exported, but not committed")
        words = config.command_line()
        id = await self._committer.commit(parent, layer, name, wanted, config, " ".join(words), settled)
        if name is not None:
            self.publish("tag", id, {"name": name.familiar})
        return id

    def tag(self, ref: str, repo: str, tag: str) -> None:
        """Give the image one more name; a name that another image had is taken from it."""
        record, _ = self._lookup.find(ref)
        reference = named(repo, tag)
        if reference.digest:
            raise Invalid("refusing to create a tag with a digest reference")
        if reference.familiar_name == "sha256":
            raise Invalid("refusing to create an ambiguous tag using digest algorithm as name")
        self._records.tag(str(reference.tagged), record.id)
        self.publish("tag", record.id, {"name": reference.tagged.familiar})

    async def remove(
        self, ref: str, force: bool = False, noprune: bool = False, platforms: Sequence[Platform] = ()
    ) -> Rows:
        """Remove a name or an image, or of it what there is for other `platforms` alone:
        [{"Untagged": ..}, {"Deleted": ..}].

        Raises NotFound, or Conflict when it is in use. `noprune` has no effect.
        """
        record, name = self._lookup.find(ref)
        if platforms:
            return await self._remover.remove_platforms(record, platforms)
        return await self._remover.remove(record, name, force)

    def in_use(self, id: str) -> bool:
        """Whether a container has this image, or one that belongs to it, or is being made of it."""
        record = self._records.get(id)
        return bool(self._remover.users(record) if record is not None else self._users(id))

    def publish(self, action: str, id: str, attributes: dict[str, str]) -> None:
        self._on_event(action, id, attributes)
