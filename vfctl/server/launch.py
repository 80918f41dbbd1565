"""Starts a server's processes, watches them, and stops them."""

from __future__ import annotations

import contextlib
import errno
import math
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from vfctl.errors import InputError, PeerError, UsageError
from vfctl.server.gateway_process import run_gateway
from vfctl.server.options import ServerOptions
from vfctl.server.process import Failed, Progress, Ready
from vfctl.server.source_process import run_source
from vfctl.server.spawn import spawn

STOP_TIMEOUT_S: Final = 5.0


class _Child:
    """A process and the pipe that it reports on."""

    def __init__(self, name: str, entry: Callable[..., None], *args: Any) -> None:
        self.name = name
        self.process, self.pipe = spawn(entry, *args, name=name)
        self.ready: Ready | None = None


class Server:
    """A running server. Use as a context manager, or call `stop`.

    Attributes:
        options: what was asked for.
        url: its WebSocket address.
    """

    def __init__(self, options: ServerOptions, port: int, children: list[_Child], folder: Path) -> None:
        self.options = options
        self.port = port
        host = f"[{options.host}]" if ":" in options.host else options.host
        self.url = f"ws://{host}:{port}/ws"
        self._children = children
        self._folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def details(self) -> dict[str, str]:
        """What the processes said of themselves when they were ready, by process name."""
        return {child.name: child.ready.detail for child in self._children if child.ready}

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by process name."""
        return {child.name: child.process.pid or 0 for child in self._children}

    def watch(self, timeout_s: float) -> None:
        """Wait so long, and see that all processes are alive.

        Raises:
            VfctlError: one of them has ended; what it said is the error.
        """
        for readable in wait([child.pipe for child in self._children], timeout_s):
            _hear(next(child for child in self._children if child.pipe is readable), lambda _: None)

    def stop(self) -> None:
        """End all processes: gateways first, so that their clients are told."""
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in reversed(self._children):
            child.process.terminate()
        for child in self._children:
            child.process.join(max(0.0, deadline - time.monotonic()))
            if child.process.is_alive():
                child.process.kill()
                child.process.join()
            child.pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def launch(
    options: ServerOptions, *, on_progress: Callable[[str], None] = lambda _: None, timeout_s: float | None = None
) -> Server:
    """Start a server; return once it accepts clients.

    Args:
        on_progress: told what the processes do while they start.
        timeout_s: give up after so long; None waits as long as the graph takes to load and settle.

    Raises:
        VfctlError: the graph cannot be loaded, the port is taken, or a process failed to start.
    """
    _check(options)
    reservation = _reserve_port(options.host, options.port)
    port = reservation.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="vfctl-"))  # 0700: nobody else gets at the bus
    bus_path = folder / "bus"
    server = Server(options, port, [], folder)
    try:
        children = server._children
        children.append(_Child("source", run_source, options, bus_path))
        for number in range(options.workers):
            children.append(_Child(f"gateway {number}", run_gateway, options, number, port, bus_path))
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not all(child.ready for child in children):
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise PeerError(f"the server was not ready within {timeout_s:g} s")
            for readable in wait([child.pipe for child in children], left_s):
                _hear(next(child for child in children if child.pipe is readable), on_progress)
    except BaseException:
        server.stop()
        raise
    finally:
        reservation.close()
    return server


def _hear(child: _Child, on_progress: Callable[[str], None]) -> None:
    """Take in one report of a child.

    Raises:
        VfctlError: it has failed, or died without a word.
    """
    pipe: Connection = child.pipe
    try:
        report = pipe.recv()
    except (EOFError, OSError):
        child.process.join(STOP_TIMEOUT_S)
        code = child.process.exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        raise PeerError(f"the {child.name} process {how}") from None
    match report:
        case Progress(text):
            on_progress(text)
        case Ready():
            child.ready = report
        case Failed(error):
            raise error


def _check(options: ServerOptions) -> None:
    if options.workers < 1 or options.max_clients < 1:
        raise UsageError("a server has at least one worker and one client")
    for name in ("physics_hz", "active_interval_ms", "stable_interval_ms", "stall_timeout_s", "heartbeat_s"):
        value = getattr(options, name)
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"{name} is {value:g}, it must be positive and finite")
    if options.stable_interval_ms < options.active_interval_ms:
        raise UsageError(
            f"stable_interval_ms is {options.stable_interval_ms:g}, less than active_interval_ms, "
            f"{options.active_interval_ms:g}: a layout at rest would be sent more often than one that moves"
        )


def _reserve_port(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen: it holds the port, and gateways may bind it too (SO_REUSEPORT).

    Raises:
        UsageError: the host is not an address of this machine, or the port is out of range.
        InputError: somebody else has the port, or may not be bound to it.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, OverflowError) as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error}") from None
    try:
        if port:
            # With SO_REUSEPORT a second server would silently share the port; without it the bind tells.
            with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        reservation = socket.socket(family, socket.SOCK_STREAM)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reservation.bind(address)
    except OSError as error:
        hint = "stop what runs there, or choose another with --port" if error.errno == errno.EADDRINUSE else None
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror}", hint=hint) from None
    return reservation
