"""Starts a server's processes, monitors and restarts them, and stops them."""

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
from vfctl.server.process.restarts import RESTART_WINDOW_S, HangDetector
from vfctl.server.process.source import run_source
from vfctl.server.scoreboard import Scoreboard

EXIT_TIMEOUT_S: Final = 1.0
"""Time that a process which has reported its failure has to end by itself."""


class Server:
    """A running server. Use it as a context manager, or call `stop`.

    Args:
        options: of the server.
        port: reserved for it.
        folder: temporary, for the socket of the bus; deleted by `stop`.

    Attributes:
        options: of the server.
        port: number of the port.
        url: its WebSocket address.
        scoreboard: metrics of its gateways.
        recording_failure: why its own recording has ended early; None if it has not.
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
        """What each process reported when it was ready, by process name."""
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
        """Number of clients that it accepts: the configured limit, or what the gateways can hold."""
        return min(self.options.max_clients, self.scoreboard.capacity)

    @property
    def _children(self) -> list[Child]:
        """The source first: when it dies the gateways end too, and its error is the one to report."""
        first, last = ([child] if child else [] for child in (self._source, self._recorder))
        return [*first, *self._gateways, *last]

    def start(self, on_progress: Callable[[str], None], timeout_s: float | None) -> None:
        """Start all processes and wait until they are ready; see `launch`."""
        bus_path = self._folder / "bus"
        self._source = Child("source", run_source, self.options, bus_path)
        for number in range(self.options.workers):
            args = (self.options, number, self._held_port.for_gateway(), self.scoreboard, bus_path)
            self._gateways.append(GatewayChild(number, run_gateway, *args))
        if self.options.record is not None:
            from vfctl.server.process.recorder import run_recorder  # imports everything that writes recordings

            self._recorder = Child("recorder", run_recorder, self.options, self.url, self.scoreboard, bus_path)
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not all(child.ready for child in self._children):
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise PeerError(f"the server was not ready within {timeout_s:g} s")
            # A recorder that fails after it was ready must not stop the server. `watch` reports it later.
            recording = self._recorder is not None and self._recorder.ready
            for child in self._wait_for_reports(left_s, but=self._recorder if recording else None):
                try:
                    child.receive(on_progress)
                except PeerError:
                    if child is not self._source:
                        self._raise_source_error(on_progress)
                    raise

    def watch(self, timeout_s: float, log_line: Callable[[str], None] = lambda _: None) -> None:
        """Wait for reports of the processes, restart dead gateways and kill hung ones. Call it in a loop.

        The other gateways and their clients are not affected.

        Args:
            timeout_s: return after this time even without a report.
            log_line: called with a line of text for each dead or hung process.

        Raises:
            VfctlError: the source has ended, or a gateway has died too often.
        """
        now_s = time.monotonic()
        for gateway in self._gateways:
            if gateway.restart_at_s is not None:
                if now_s >= gateway.restart_at_s:
                    gateway.restart_at_s = None
                    gateway.start()
                else:
                    timeout_s = min(timeout_s, gateway.restart_at_s - now_s)
            elif gateway.hang_detector.poll(self.scoreboard[gateway.number].published_us, now_s):
                log_line(f"the {gateway.name} process hangs and is killed")
                gateway.process.kill()
                gateway.hang_detector = HangDetector()
        for child in self._wait_for_reports(timeout_s):
            try:
                child.receive()
            except VfctlError as error:
                if child is self._recorder:
                    self._end_recording(error, log_line)
                elif not isinstance(child, GatewayChild):
                    raise
                else:
                    self._schedule_restart(child, error, log_line)

    def _wait_for_reports(self, timeout_s: float | None, *, but: Child | None = None) -> list[Child]:
        """Wait for the processes, except `but`. Returns those that have sent a report or have died."""
        living = [child for child in self._children if not child.pipe.closed and child is not but]
        readable = wait([child.pipe for child in living], timeout_s)
        return [child for child in living if child.pipe in readable]

    def _raise_source_error(
        self, on_progress: Callable[[str], None] = lambda _: None, timeout_s: float = EXIT_TIMEOUT_S
    ) -> None:
        """Raise the error of the source if it has one: other processes end with it, and its error is the cause."""
        while self._source is not None and self._source.pipe.poll(timeout_s):
            self._source.receive(on_progress)

    def _schedule_restart(self, gateway: GatewayChild, error: VfctlError, log_line: Callable[[str], None]) -> None:
        """A gateway has died."""
        gateway.end(EXIT_TIMEOUT_S)
        self.scoreboard.clear(gateway.number)
        self._raise_source_error(timeout_s=0)
        now_s = time.monotonic()
        delay_s = gateway.policy.on_death(now_s)
        if delay_s is None:
            raise PeerError(
                f"{gateway.name} has died {gateway.policy.deaths} times within {RESTART_WINDOW_S:g} s; the last time: "
                f"{error.message}",
                hint=error.hint,
            )
        gateway.restart_at_s = now_s + delay_s
        log_line(f"{error.message}; it is restarted" + (f" in {delay_s:g} s" if delay_s else ""))

    def _end_recording(self, error: VfctlError, log_line: Callable[[str], None]) -> None:
        """The recorder has failed. Clients are not affected."""
        assert self._recorder is not None
        self.recording_failure = error
        self._recorder.end(EXIT_TIMEOUT_S)
        if isinstance(error, PeerError):
            self._raise_source_error()
        log_line(f"{error.message}; the server goes on without recording")

    def stop(self) -> None:
        """Stop all processes: gateways first, so that their clients get a Close frame."""
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        for child in reversed(self._children):
            child.process.terminate()
        if self._recorder is not None and self.recording_failure is None:
            self.recording_failure = self._recorder.exit_error(max(0.0, deadline_s - time.monotonic()))
        for child in self._children:
            child.end(max(0.0, deadline_s - time.monotonic()))
        self._held_port.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def launch(
    options: ServerOptions, *, on_progress: Callable[[str], None] = lambda _: None, timeout_s: float | None = None
) -> Server:
    """Start a server, and return once it accepts clients.

    Args:
        options: of the server.
        on_progress: called with what the processes do while they start.
        timeout_s: give up after this time; None waits as long as the graph takes to load and settle.

    Raises:
        VfctlError: the graph cannot be loaded, the port is taken, or a process failed to start.
    """
    _check(options)
    port = reserve_port(options.host, options.port)
    folder = Path(tempfile.mkdtemp(prefix="vfctl-"))  # mode 0700: other users cannot connect to the bus
    server = Server(options, port, folder)
    try:
        server.start(on_progress, timeout_s)
    except BaseException:
        server.stop()
        raise
    return server


def _check(options: ServerOptions) -> None:
    if options.workers < 1 or options.max_clients < 1:
        raise UsageError("workers and max_clients must be at least 1")
    for name in ("physics_hz", "active_interval_ms", "stable_interval_ms", "stall_timeout_s", "heartbeat_s"):
        value = getattr(options, name)
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"{name} is {value:g}, it must be positive and finite")
    if options.stable_interval_ms < options.active_interval_ms:
        raise UsageError(
            f"stable_interval_ms is {options.stable_interval_ms:g}, less than active_interval_ms, "
            f"{options.active_interval_ms:g}: a settled layout would be sent more often than a moving one"
        )
