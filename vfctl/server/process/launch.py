"""Starts a server's processes, watches them, and stops them."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from vfctl.errors import PeerError, UsageError, VfctlError
from vfctl.server.options import ServerOptions
from vfctl.server.process.child import STOP_TIMEOUT_S, Child, GatewayChild
from vfctl.server.process.gateway_process import run_gateway
from vfctl.server.process.port import Port, reserve_port
from vfctl.server.process.restarts import RESTART_WINDOW_S, Pulse
from vfctl.server.process.scoreboard import Scoreboard
from vfctl.server.process.source import run_source

DYING_S: Final = 1.0
"""How long a gateway that has reported its failure has to end by itself."""


class Server:
    """A running server. Use as a context manager, or call `stop`.

    Attributes:
        options: what was asked for.
        url: its WebSocket address.
        scoreboard: what its gateways have counted.
        recording_failure: why its recording of itself has ended early; None if it has not.
    """

    def __init__(self, options: ServerOptions, port: Port, folder: Path) -> None:
        self.options = options
        self.port = port.number
        host = f"[{options.host}]" if ":" in options.host else options.host
        self.url = f"ws://{host}:{port.number}/ws"
        self.scoreboard = Scoreboard(options.workers)
        self._held_port = port
        self._folder = folder
        self._source: Child | None = None
        self._gateways: list[GatewayChild] = []
        self._recorder: Child | None = None
        self.recording_failure: VfctlError | None = None

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

    @property
    def device(self) -> str | None:
        """What the physics computes on; None for a replay."""
        return self._source.ready.device if self._source and self._source.ready else None

    @property
    def max_clients(self) -> int:
        """How many clients it takes: what was asked for, or what the gateways can hold."""
        return min(self.options.max_clients, self.scoreboard.capacity)

    @property
    def _children(self) -> list[Child]:
        """The source first: when it dies the gateways do too, and its death is the one that counts."""
        first, last = ([child] if child else [] for child in (self._source, self._recorder))
        return [*first, *self._gateways, *last]

    def start(self, on_progress: Callable[[str], None], timeout_s: float | None) -> None:
        """Start all processes; see `launch`."""
        bus_path = self._folder / "bus"
        self._source = Child("source", run_source, self.options, bus_path)
        for number in range(self.options.workers):
            args = (self.options, number, self._held_port.for_gateway(), self.scoreboard, bus_path)
            self._gateways.append(GatewayChild(number, run_gateway, *args))
        if self.options.record is not None:
            from vfctl.server.process.recorder import run_recorder  # with all that reads and writes recordings

            self._recorder = Child("recorder", run_recorder, self.options, self.url, self.scoreboard, bus_path)
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not all(child.ready for child in self._children):
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise PeerError(f"the server was not ready within {timeout_s:g} s")
            # If the disk is full already, `watch` says so later: that is no reason not to serve.
            recording = self._recorder is not None and self._recorder.ready
            for child in self._heard_within(left_s, but=self._recorder if recording else None):
                try:
                    child.hear(on_progress)
                except PeerError:
                    while child is not self._source and self._source.pipe.poll(DYING_S):
                        self._source.hear(on_progress)  # a gateway ends with its source, whose error is the one to tell
                    raise

    def watch(self, timeout_s: float, say: Callable[[str], None] = lambda _: None) -> None:
        """Wait at most so long for news of the processes. Call it again and again: gateways that have died are
        started anew here, and such as hang are ended. The other gateways and their clients do not notice.

        Args:
            say: told in a line of every such death.

        Raises:
            VfctlError: the source has ended, or a gateway once too often; what it said is the error.
        """
        now_s = time.monotonic()
        for gateway in self._gateways:
            if gateway.due_s is not None:
                if now_s >= gateway.due_s:
                    gateway.due_s = None
                    gateway.start()
                else:
                    timeout_s = min(timeout_s, gateway.due_s - now_s)
            elif gateway.pulse.lost(self.scoreboard[gateway.number].posted_us, now_s):
                say(f"the {gateway.name} process hangs, it is ended")
                gateway.process.kill()
                gateway.pulse = Pulse()
        for child in self._heard_within(timeout_s):
            try:
                child.hear(lambda _: None)
            except VfctlError as error:
                if child is self._recorder:
                    self._end_recording(error, say)
                elif not isinstance(child, GatewayChild):
                    raise
                else:
                    self._bury(child, error, say)

    def _heard_within(self, timeout_s: float | None, *, but: Child | None = None) -> list[Child]:
        """The children, but for one, that have something to say, or have died, waited for."""
        living = [child for child in self._children if not child.pipe.closed and child is not but]
        readable = wait([child.pipe for child in living], timeout_s)
        return [child for child in living if child.pipe in readable]

    def _bury(self, gateway: GatewayChild, error: VfctlError, say: Callable[[str], None]) -> None:
        """A gateway has died; see to it that there is another."""
        gateway.end(DYING_S)
        self.scoreboard.clear(gateway.number)
        if self._source and self._source.pipe.poll():  # a gateway ends with its source, which is then the news
            self._source.hear(lambda _: None)
        now_s = time.monotonic()
        delay_s = gateway.policy.died(now_s)
        if delay_s is None:
            raise PeerError(
                f"{gateway.name} has died {gateway.policy.deaths} times within {RESTART_WINDOW_S:g} s; the last time: "
                f"{error.message}",
                hint=error.hint,
            )
        gateway.due_s = now_s + delay_s
        say(f"{error.message}; it is started again" + (f" in {delay_s:g} s" if delay_s else ""))

    def _end_recording(self, error: VfctlError, say: Callable[[str], None]) -> None:
        """The recorder has failed, or died; clients never notice. If the source has gone, that is the news."""
        assert self._recorder is not None
        assert self._source is not None
        self.recording_failure = error
        self._recorder.end(DYING_S)
        while isinstance(error, PeerError) and self._source.pipe.poll(DYING_S):
            self._source.hear(lambda _: None)
        say(f"{error.message}; the server goes on without recording")

    def stop(self) -> None:
        """End all processes: gateways first, so that their clients are told."""
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        for child in reversed(self._children):
            child.process.terminate()
        if self._recorder is not None and self.recording_failure is None:
            self.recording_failure = self._recorder.last_words(max(0.0, deadline_s - time.monotonic()))
        for child in self._children:
            child.end(max(0.0, deadline_s - time.monotonic()))
        self._held_port.close()
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
    port = reserve_port(options.host, options.port)
    folder = Path(tempfile.mkdtemp(prefix="vfctl-"))  # 0700: nobody else gets at the bus
    server = Server(options, port, folder)
    try:
        server.start(on_progress, timeout_s)
    except BaseException:
        server.stop()
        raise
    return server


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
