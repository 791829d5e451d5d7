"""The name server at 127.0.0.11 of each container in a user-defined network.

Its sockets are in the container's namespace, so nobody else reaches it, and who asks is known without looking at
addresses. They are on ports of the kernel's choice; an nftables table in that namespace leads port 53 of 127.0.0.11 to
them, so that a name server in the container can still bind port 53.

Names of containers are answered from memory and never forwarded, whatever record is asked for. Other names go to the
host's servers, from the host's own namespace; a container whose networks are all internal is refused them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from corten.errors import Corrupt
from corten.kernel import nft
from corten.kernel.nft import Table
from corten.network import dns
from corten.network.dns import IPAddress, Question

_Ask = Callable[[str, bytes, Question, int], Awaitable[bytes]]

ADDRESS = "127.0.0.11"
_TABLE = Table(nft.NFPROTO_IPV4, "corten-dns")
_TRY = 2.0  # seconds for one server before the next is asked
_IN_FLIGHT = 256  # forwarded questions of one container at a time; more are refused
_TCP_IDLE = 10.0


class Sockets(NamedTuple):
    """Descriptors inside a container's namespace: UDP, and TCP listening, both at 127.0.0.11 and any port; and a
    NETLINK_NETFILTER socket. All become the resolver's."""

    udp: int
    tcp: int
    netfilter: int


class Names(NamedTuple):
    """What a container may know. Each is called for every question, so that answers are never stale.

    addresses  all addresses of a name, in both families; None when nobody in the container's networks is called so
    reverse    the names of an address; empty when it is nobody's
    upstreams  servers for other names, in order; empty when none may be asked
    """

    addresses: Callable[[str], Sequence[IPAddress] | None]
    reverse: Callable[[IPAddress], Sequence[str]]
    upstreams: Callable[[], Sequence[str]]


class Resolver:
    """One container's name server."""

    def __init__(self, sockets: Sockets, names: Names) -> None:
        self._names = names
        self._udp = socket.socket(fileno=sockets.udp)
        self._tcp = socket.socket(fileno=sockets.tcp)
        self._netfilter = socket.socket(fileno=sockets.netfilter)
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        _lead(self._netfilter.fileno(), self._udp.getsockname()[1], self._tcp.getsockname()[1])
        loop = asyncio.get_running_loop()
        self._udp.setblocking(False)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=self._udp)
        self._server = await asyncio.start_server(self._serve_tcp, sock=self._tcp)

    async def close(self) -> None:
        """Lets go of the namespace: as long as a socket is in it, it and its devices stay."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._transport is not None:
            self._transport.abort()
        if self._server is not None:
            self._server.close()
        for one in (self._udp, self._tcp, self._netfilter):
            one.close()

    # ----------------------------------------------------------------------------------------------------- serving

    def datagram(self, message: bytes, peer: tuple[str, int]) -> None:
        """Answer at once when that is possible, else in a task."""
        try:
            question = dns.parse(message)
        except Corrupt:
            return  # what is no question gets no answer, as from other servers
        known = self._known(message, question, limit=_limit(message, question))
        if known is not None:
            self._send(known, peer)
        elif len(self._running) >= _IN_FLIGHT:
            self._send(dns.refuse(message, question, dns.SERVFAIL), peer)
        else:
            self._spawn(self._forward_datagram(message, question, peer))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _send(self, reply: bytes, peer: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, peer)

    async def _forward_datagram(self, message: bytes, question: Question, peer: tuple[str, int]) -> None:
        self._send(await self._forward(message, question, _ask_udp), peer)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._running) >= _IN_FLIGHT:
            writer.close()
            return
        self._running.add(task)
        try:
            while True:
                async with asyncio.timeout(_TCP_IDLE):
                    (length,) = struct.unpack(">H", await reader.readexactly(2))
                    message = await reader.readexactly(length)
                reply = await self._answer_tcp(message)
                writer.write(struct.pack(">H", len(reply)) + reply)
                await writer.drain()
        except (TimeoutError, OSError, EOFError, Corrupt):
            pass  # the client went away, or sent what is no question: the connection ends
        finally:
            self._running.discard(task)
            writer.close()

    async def _answer_tcp(self, message: bytes) -> bytes:
        question = dns.parse(message)
        known = self._known(message, question, limit=65535)
        return known if known is not None else await self._forward(message, question, _ask_tcp)

    # --------------------------------------------------------------------------------------------------- answering

    def _known(self, message: bytes, question: Question, limit: int) -> bytes | None:
        """The answer from memory; None when the question has to be forwarded."""
        if (asked := dns.reverse(question.name)) is not None:
            found = self._names.reverse(asked)
            if found:
                return dns.names(message, question, found if question.kind in (dns.PTR, dns.ANY) else [], limit)
        elif (addresses := self._names.addresses(question.name)) is not None:
            version = {dns.A: (4,), dns.AAAA: (6,), dns.ANY: (4, 6)}.get(question.kind, ())
            chosen = [ip for ip in addresses if ip.version in version]
            if len(chosen) > 1:  # clients take the first: let them share the work
                turn = secrets.randbelow(len(chosen))
                chosen = chosen[turn:] + chosen[:turn]
            return dns.addresses(message, question, chosen, limit)
        if not self._names.upstreams():
            return dns.refuse(message, question, dns.REFUSED)
        return None

    async def _forward(self, message: bytes, question: Question, ask: _Ask) -> bytes:
        """The first server's answer that is one; SERVFAIL when none gave any."""
        for server in self._names.upstreams():
            id = secrets.randbelow(1 << 16)
            try:
                async with asyncio.timeout(_TRY):
                    reply = await ask(server, dns.with_id(message, id), question, id)
            except (TimeoutError, OSError, EOFError):
                continue
            return dns.with_id(reply, question.id)
        return dns.refuse(message, question, dns.SERVFAIL)


def _limit(message: bytes, question: Question) -> int:
    """How long an answer by UDP may be: 512 bytes, or what the client's EDNS record says (RFC 6891)."""
    extra = message[question.end :]
    if message[10:12] == b"\0\1" and len(extra) >= 11 and extra[:3] == b"\0\0\x29":
        return min(4096, max(512, int.from_bytes(extra[3:5], "big")))
    return 512


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._resolver.datagram(data, addr)


class _Answer(asyncio.DatagramProtocol):
    def __init__(self, query: bytes, question: Question, id: int) -> None:
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._query, self._question, self._id = query, question, id

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.reply.done() and dns.answers(self._query, self._question, data, self._id):
            self.reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)


async def _ask_udp(server: str, query: bytes, question: Question, id: int) -> bytes:
    """A connected socket of its own for each question: a random port, and only that server's packets are heard."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: _Answer(query, question, id), remote_addr=(server, 53)
    )
    try:
        transport.sendto(query)
        return await protocol.reply
    finally:
        protocol.reply.cancel()
        transport.abort()


async def _ask_tcp(server: str, query: bytes, question: Question, id: int) -> bytes:
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(struct.pack(">H", len(query)) + query)
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        reply = await reader.readexactly(length)
        if not dns.answers(query, question, reply, id):
            raise OSError(f"dns server {server} answered another question")
        return reply
    finally:
        writer.close()


def _lead(netfilter: int, udp: int, tcp: int) -> None:
    """In the container's namespace: port 53 of 127.0.0.11 is the resolver's ports."""
    transactions = nft.Transactions(netfilter)
    address = ipaddress.IPv4Address(ADDRESS).packed
    requests = [nft.new_table(_TABLE), nft.delete_table(_TABLE), nft.new_table(_TABLE)]
    requests.append(nft.base_chain(_TABLE, "output", "nat", nft.OUTPUT, -100))
    for protocol, port in ((socket.IPPROTO_UDP, udp), (socket.IPPROTO_TCP, tcp)):
        match = nft.network_header(16, 4, 0) + nft.compare(0, address)
        match += nft.meta(nft.L4PROTO, 0) + nft.compare(0, bytes((protocol,)))
        match += nft.transport_header(2, 2, 0) + nft.compare(0, nft.port(53))
        target = nft.immediate(0, address) + nft.immediate(1, nft.port(port)) + nft.dnat(nft.NFPROTO_IPV4, 0, 1)
        requests.append(nft.rule(_TABLE, "output", match + target))
    try:
        transactions.commit(requests)
    finally:
        transactions.close()
