"""A gateway reduced to its writing: one of the processes that benchmarks/writers.py measures.

    python benchmarks/writing_sender.py PORT FRAME_FILE RATE

Runs in the peers' environment, for liburing. Shares the port with others, on uvloop; answers a WebSocket handshake
without looking at it. From then on every connection gets the message in the file RATE times a second, spread over 60
ticks a second, framed, and with a trailer stamped at the tick's start. A connection whose bytes still wait is passed
over, as a gateway does; so all writers find an empty buffer, and none can overtake it. Prints its pid once it listens
and ends with its stdin. Each line on stdin is answered by a line of JSON:

    frame FILE     send the message in this file
    writer NAME    write so, see WRITERS; {"error": …} if that cannot be
    congestion NAME    TCP_CONGESTION of all connections; {"error": …} likewise
    stats          {"connections": …, "frames": …, "partial": …, "skipped": …}
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))
from vfctl.sockets.submission_ring import SEND_FLAGS, SKIP_SUCCESS, SubmissionRing

TICKS_PER_S = 60
BATCH = 1024
TRAILER = struct.Struct("<QQI")
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Viewer(asyncio.Protocol):
    """One connection.

    Attributes:
        fd: the descriptor of its transport.
        raw: a socket object on the same descriptor; uvloop's own has no send().
    """

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.slot: Slot | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.fd: int = transport.get_extra_info("socket").fileno()
        self.raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, self.fd)

    def data_received(self, data: bytes) -> None:
        if self.slot is None and data.endswith(b"\r\n\r\n"):
            self.transport.write(ANSWER)
            self.slot = self.sender.join(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.raw.detach()
        if self.slot is not None:
            self.slot.pop(self.fd, None)
            self.sender.connections -= 1


Slot = dict[int, Viewer]
"""Connections by descriptor."""

Writer = Callable[[Slot, Sequence[int], bytearray], int]
"""Writes a buffer to these descriptors of a slot, whose transports' buffers are empty; returns to how many in part."""


def by_transport(slot: Slot, descriptors: Sequence[int], buffer: bytearray) -> int:
    frame = bytes(buffer)
    for fd in descriptors:
        slot[fd].transport.write(frame)
    return 0


def by_os_write(slot: Slot, descriptors: Sequence[int], buffer: bytearray) -> int:
    frame, size, write = bytes(buffer), len(buffer), os.write
    partial = 0
    for fd in descriptors:
        try:
            sent = write(fd, frame)
        except OSError:
            sent = 0
        if sent < size:
            slot[fd].transport.write(frame[sent:])
            partial += 1
    return partial


def by_socket_send(slot: Slot, descriptors: Sequence[int], buffer: bytearray) -> int:
    frame, size = bytes(buffer), len(buffer)
    partial = 0
    for fd in descriptors:
        try:
            sent = slot[fd].raw.send(frame)
        except OSError:
            sent = 0
        if sent < size:
            slot[fd].transport.write(frame[sent:])
            partial += 1
    return partial


def by_the_gateways_ring() -> Writer:
    """io_uring as the gateway has it: no library, the entries written by slices."""
    ring = SubmissionRing()

    def write(slot: Slot, descriptors: Sequence[int], buffer: bytearray) -> int:
        fds, taken = np.array(descriptors, np.int32), np.empty(len(descriptors), np.int64)
        ring.send(fds, np.frombuffer(buffer, np.uint8), taken)
        short = np.flatnonzero(taken != len(buffer))
        return hand_over(slot, list(zip(fds[short].tolist(), taken[short].tolist(), strict=True)), buffer)

    return write


def by_liburing() -> Writer:
    """io_uring with the package from PyPI, whose calls are those of the C library: some for each socket.

    Its ready entries (`put_sqe`) and `io_uring_peek_batch_cqe` would save calls, but the latter is not implemented.
    """
    import liburing as uring

    ring, completions = uring.Ring(), uring.Cqe()
    uring.io_uring_queue_init(BATCH, ring, 0)
    get_entry, prepare = uring.io_uring_get_sqe, uring.io_uring_prep_send

    def failures() -> Iterator[tuple[int, int]]:
        ready = uring.io_uring_cq_ready(ring)
        if ready:
            uring.io_uring_peek_cqe(ring, completions)
        for i in range(ready):
            completion = completions[i]
            try:
                yield completion.user_data, completion.res
            except OSError as error:
                yield completion.user_data, -error.errno
        uring.io_uring_cq_advance(ring, ready)

    def write(slot: Slot, descriptors: Sequence[int], buffer: bytearray) -> int:
        frame = bytes(buffer)
        partial = 0
        for batch in batches(descriptors):
            for fd in batch:
                entry = get_entry(ring)
                prepare(entry, fd, frame, SEND_FLAGS)
                entry.flags = SKIP_SUCCESS
                entry.user_data = fd
            uring.io_uring_submit(ring)
            partial += hand_over(slot, list(failures()), buffer)
        return partial

    return write


def batches(descriptors: Sequence[int]) -> Iterator[Sequence[int]]:
    """At most BATCH at a time."""
    return (descriptors[start : start + BATCH] for start in range(0, len(descriptors), BATCH))


def hand_over(slot: Slot, failures: Sequence[tuple[int, int]], buffer: bytearray) -> int:
    """Give the transports what their sockets have not taken; a broken one will find that out."""
    for fd, result in failures:
        slot[fd].transport.write(bytes(buffer[max(0, result) :]))
    return len(failures)


WRITERS: dict[str, Callable[[], Writer]] = {
    "transport.write": lambda: by_transport,
    "os.write": lambda: by_os_write,
    "socket.send": lambda: by_socket_send,
    "liburing": by_liburing,
    "gateway's ring": by_the_gateways_ring,
}


class Sender:
    """The schedule: connections in slots, a slot a tick."""

    def __init__(self, message: bytes, rate: float) -> None:
        self.slots: list[Slot] = [{} for _ in range(round(TICKS_PER_S / rate))]
        self.interval_us = round(1e6 / rate)
        self.frame = framed(message)
        self.writers: dict[str, Writer] = {}
        self.writer: Writer = by_transport
        self.congestion: str | None = None
        self.joined = self.connections = self.frames = self.partial = self.skipped = 0

    def join(self, viewer: Viewer) -> Slot:
        slot = self.slots[self.joined % len(self.slots)]
        slot[viewer.fd] = viewer
        self.joined += 1
        self.connections += 1
        return slot

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        next_tick = loop.time()
        tick = 0
        while True:
            self.send(self.slots[tick % len(self.slots)], tick // len(self.slots))
            tick += 1
            next_tick = max(next_tick + 1 / TICKS_PER_S, loop.time())
            await asyncio.sleep(next_tick - loop.time())

    def send(self, slot: Slot, sequence: int) -> None:
        trailer = (sequence, time.time_ns() // 1000, self.interval_us)
        TRAILER.pack_into(self.frame, len(self.frame) - TRAILER.size, *trailer)
        ready = [fd for fd, viewer in slot.items() if not viewer.transport.get_write_buffer_size()]
        self.partial += self.writer(slot, ready, self.frame)
        self.frames += len(ready)
        self.skipped += len(slot) - len(ready)

    def obey(self, command: str) -> dict[str, object]:
        """Carry out a line from stdin; its answer."""
        what, _, operand = command.partition(" ")
        try:
            if what == "frame":
                self.frame = framed(Path(operand).read_bytes())
            elif what == "writer":
                self.use_writer(operand)
            elif what == "congestion":
                self.use_congestion(operand)
        except (OSError, ImportError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return {key: getattr(self, key) for key in ("connections", "frames", "partial", "skipped")}

    def use_writer(self, name: str) -> None:
        if name not in self.writers:
            self.writers[name] = WRITERS[name]()
        self.writer = self.writers[name]

    def use_congestion(self, name: str) -> None:
        if name == self.congestion:
            return
        for slot in self.slots:
            for viewer in slot.values():
                viewer.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
        self.congestion = name


def framed(message: bytes) -> bytearray:
    """The message as a WebSocket frame: binary, whole, from a server."""
    length = len(message)
    header = struct.pack(">BBH", 0x82, 126, length) if length < 2**16 else struct.pack(">BBQ", 0x82, 127, length)
    return bytearray(header + message)


def obey_stdin(sender: Sender) -> None:
    """Answer what has come; end at the end, without thousands of orderly goodbyes."""
    lines = os.read(sys.stdin.fileno(), 4096).decode()
    if not lines:
        os._exit(0)
    for line in lines.splitlines():
        print(json.dumps(sender.obey(line)), flush=True)


async def serve(port: int, sender: Sender) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Viewer(sender), sock=listener, backlog=4096)
    loop.add_reader(sys.stdin.fileno(), obey_stdin, sender)
    print(os.getpid(), flush=True)
    await sender.run()


if __name__ == "__main__":
    port, frame_file, rate = sys.argv[1:]
    uvloop.run(serve(int(port), Sender(Path(frame_file).read_bytes(), float(rate))))
