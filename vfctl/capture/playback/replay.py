"""A recording in place of the physics: a frame source with the same interface."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from vfctl.capture.message import Form
from vfctl.capture.playback.graph_state import GraphState, Positions, is_compact
from vfctl.capture.playback.playlist import MessageCursor, Playlist
from vfctl.capture.playback.replay_clock import ReplayClock, check_changes
from vfctl.capture.timeline import UNTIMED_INTERVAL_S, TimedMessage
from vfctl.errors import CaptureError, InputError, ProtocolError, UsageError, VfctlError
from vfctl.graph import Graph, to_full_graph
from vfctl.protocol import FullGraph, Message, MessageType, NodeDrag, Notice, PositionUpdate, Trailer, VoiceData

log = logging.getLogger(__name__)

MAX_WAITING_EVENTS: Final = 1024
"""Most speech and notices that wait to be collected: 20 s of one speaker. Then the oldest are dropped."""

MAX_WARNINGS: Final = 20


class ReplaySource:
    """Plays a recording with the interface of the PhysicsOrchestrator.

    The clock starts at `start_s` with the first `tick`. Files are read while they are played, so memory is bounded.
    Damaged parts are left out, with a warning in the log. While paused, and after the end, the layout is settled.

    Args:
        capture_path: a recording, `-` for stdin; or several files in order, one recording together.
        speed: seconds of the recording per second.
        loop: start again at `start_s` after the end.
        start_s: where to start, in seconds from the start of the recording.
        paused: start paused.

    Attributes:
        graph_version: number that grows with each change of the graph.

    Raises:
        UsageError: a speed out of range, a start beyond the end, or a loop over a pipe.
        InputError: a file cannot be read.
        CaptureError: it is no recording, or has no positions at all.
    """

    def __init__(
        self,
        capture_path: str | Path | Sequence[str | Path],
        *,
        speed: float = 1.0,
        loop: bool = False,
        start_s: float = 0.0,
        paused: bool = False,
    ) -> None:
        check_changes({"speed": speed, "position_s": start_s})
        self.graph_version = 0
        self._loop = loop
        self._start_s = start_s
        self._clock = ReplayClock(start_s, speed, paused)
        self._wanted: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._ticks = 0
        self._settled = False
        self._moved = False
        self._sent_settled = False
        self._interval_us = round(UNTIMED_INTERVAL_S * 1e6)
        self._state: GraphState | None = None
        self._positions = Positions()
        self._chain_is_broken = False
        self._jumped = False
        self._events: deque[VoiceData | Notice] = deque(maxlen=MAX_WAITING_EVENTS)
        self._warned: set[str] = set()
        paths = [capture_path] if isinstance(capture_path, str | Path) else list(capture_path)
        self._playlist = Playlist(paths)
        if loop and not self._playlist.rereadable:
            raise UsageError(f"{self._playlist.name} can only be read once, expected a file to replay in a loop")
        try:
            self._jumped = self._playlist.can_jump
            self._cursor = MessageCursor(self._playlist, start_s)
            self._show_start()
        finally:
            self._playlist.close()
        if self._playlist.duration_s is None and self._playlist.rereadable:
            threading.Thread(target=self._measure, name="replay-duration", daemon=True).start()

    @property
    def graph(self) -> Graph:
        """The graph that is being played."""
        return self._present.graph

    @property
    def finished(self) -> bool:
        """Whether the recording has ended and does not loop. Its last state stays."""
        return self._cursor.ended and not self._loop

    @property
    def settled(self) -> bool:
        """Whether the newest positions were recorded as settled, or the replay is paused or has ended."""
        return self._settled or self._at_rest

    @property
    def _at_rest(self) -> bool:
        clock = self._clock
        return clock.paused or (self.finished and clock.position_s >= self._cursor.latest_s + UNTIMED_INTERVAL_S)

    def tick(self, now_us: int) -> PositionUpdate | None:
        """The newest recorded positions that are due, or None if the last ones are still valid.

        Args:
            now_us: unix time in µs.

        Returns:
            All nodes of `graph` in its order, with the timestamp `now_us`. The trailer has the interval to the
            next recorded positions; 0 if the last positions are repeated as settled.
        """
        self._ticks += 1
        self._apply_changes(now_us)
        self._advance(now_us)
        settled, moved = self.settled, self._moved
        if not moved and settled == self._sent_settled:
            return None
        self._moved, self._sent_settled = False, settled
        interval_us = self._until_next_us() if moved else 0
        return PositionUpdate(self._present.nodes, settled, Trailer(self._ticks, now_us, interval_us))

    def next_change_us(self, now_us: int) -> int | None:
        """Time in µs until `tick` has new positions; None if the clock does not reach them."""
        self._clock.at(now_us)
        return self._clock.until_us(self._cursor.next_s)

    def full_graph(self, now_us: int) -> FullGraph:
        """The graph with its current positions, and with METADATA if the recording has it."""
        state = self._present
        trailer = Trailer(self._ticks, now_us, 0)
        return to_full_graph(state.graph, state.nodes, trailer=trailer, metadata=state.has_metadata)

    def events(self, now_us: int) -> list[Message]:
        """Speech and selections that are due since the last call, with the current timestamp."""
        self._advance(now_us)
        due: list[Message] = [_stamped(event, now_us) for event in self._events]
        self._events.clear()
        return due

    def apply(self, message: Message, sender: int = 0) -> None:
        """Handle a message of a client. A recording ignores all but drags.

        Raises:
            InputError: it is a drag.
        """
        if isinstance(message, NodeDrag):
            raise InputError("this is a replay: nodes move as they were recorded and cannot be dragged")

    def leave(self, sender: int) -> None:
        """A client has disconnected. Nothing is to be released."""

    def control(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change the replay from the next tick on, and return its state. It may be called from any thread.

        Args:
            changes: `position_s`, `speed`, `paused`, `loop`, or none of them.

        Returns:
            these four, and `duration_s`, `start_unix_s` (None while unknown), `ended` and `file`.

        Raises:
            UsageError: one of them is invalid. Then nothing is changed.
        """
        playlist, clock = self._playlist, self._clock
        check_changes(changes, playlist.duration_s)
        if not playlist.rereadable and ("position_s" in changes or changes.get("loop")):
            raise UsageError(f"{playlist.name} is read once, from front to back: there is no other position in it")
        with self._lock:
            self._wanted.update(changes)
            wanted = dict(self._wanted)
        position_s = wanted.get("position_s", min(clock.position_s, playlist.duration_s or float("inf")))
        return {
            "file": playlist.name,
            "position_s": round(position_s, 6),
            "duration_s": playlist.duration_s,
            "start_unix_s": None if playlist.start_ns is None else playlist.start_ns / 1e9,
            "speed": wanted.get("speed", clock.speed),
            "paused": wanted.get("paused", clock.paused),
            "loop": wanted.get("loop", self._loop),
            "ended": self.finished and "position_s" not in wanted,
        }

    def _apply_changes(self, now_us: int) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, {}
        if not wanted:
            return
        self._clock.at(now_us)
        self._clock.change(speed=wanted.get("speed"), paused=wanted.get("paused"))
        self._loop = wanted.get("loop", self._loop)
        if "position_s" in wanted:
            self._seek(wanted["position_s"])

    def _seek(self, position_s: float) -> None:
        """Seek to a position, forwards or backwards."""
        self._clock.change(position_s=position_s)
        self._moved = False
        self._rewind(position_s)
        self._play_from(position_s)
        while not self._cursor.ended and not self._moved:
            self._play(self._cursor.next_s)
        self._moved = True
        self._events.clear()

    def _play_from(self, position_s: float) -> None:
        """Show the state at a position. A COMPACT chain that the seek index leads into is read from its start."""
        self._play(position_s)
        if self._chain_is_broken:
            self._rewind(position_s, whole=True)
            self._play(position_s)
        self._jumped = False

    def _rewind(self, position_s: float, *, whole: bool = False) -> None:
        self._cursor.close()
        self._positions = Positions()
        self._chain_is_broken = False
        self._jumped = self._playlist.can_jump and not whole
        self._cursor = MessageCursor(self._playlist, position_s, whole=whole)

    def _until_next_us(self) -> int:
        """Time in µs to the next positions. If another message is next, or none, the last interval is repeated."""
        if self._cursor.brings_positions:
            until_us = self._clock.until_us(self._cursor.next_s)
            self._interval_us = self._interval_us if until_us is None else max(1, until_us)
        return self._interval_us

    def _measure(self) -> None:
        with suppress(VfctlError):
            self._playlist.measure()

    @property
    def _present(self) -> GraphState:
        assert self._state is not None  # __init__ does not return without one
        return self._state

    def _show_start(self) -> None:
        """Skip to the start, and on to the first message with a graph or positions."""
        self._play_from(self._start_s)
        if self._cursor.ended and self._cursor.latest_s < self._start_s:
            raise UsageError(
                f"a replay from {self._start_s:g} s, but {self._playlist.name} ends after {self._cursor.latest_s:g} s"
            )
        while self._state is None and not self._cursor.ended:
            self._play(self._cursor.next_s)
        if self._state is None:
            damage = self._cursor.damage
            raise damage[0] if damage else CaptureError(f"{self._playlist.name} has no FullGraph and no PositionUpdate")
        self._events.clear()

    def _advance(self, now_us: int) -> None:
        position_s = self._clock.at(now_us)
        self._play(position_s)
        # The last frame is shown as long as any other. This also keeps a loop over a single frame from spinning.
        if self._loop and self._cursor.ended and position_s >= self._cursor.latest_s + UNTIMED_INTERVAL_S:
            self._seek(self._start_s)

    def _play(self, until_s: float) -> None:
        """Play the messages that are due. Of positions, only the newest are decoded, and all on which others depend."""
        newest: TimedMessage | None = None
        for timed in self._cursor.due(until_s):
            captured = timed.captured
            kind = captured.payload[1] if captured.form is Form.V4 else MessageType.POSITION_UPDATE
            if self._positions.depends(captured):
                newest = None
                self._show(timed)
            elif kind == MessageType.POSITION_UPDATE:
                newest = timed
            elif kind in (MessageType.VOICE_DATA, MessageType.NOTICE):
                self._queue_event(timed)
        if newest:
            self._show(newest)
        for damage in self._cursor.damage:
            self._warn_once(f"{damage}; what is intact is played")

    def _queue_event(self, timed: TimedMessage) -> None:
        """Queue speech and notices to all clients. An error notice was for one client and is dropped."""
        message = self._read(timed)
        if isinstance(message, VoiceData) or (isinstance(message, Notice) and message.body.get("notice") != "error"):
            self._events.append(message)

    def _show(self, timed: TimedMessage) -> None:
        message = self._read(timed)
        if isinstance(message, FullGraph):
            self._show_graph(message)
        elif isinstance(message, PositionUpdate):
            self._show_update(message)

    def _show_graph(self, message: FullGraph) -> None:
        try:
            state = GraphState.from_graph(message, self._playlist.name)
        except InputError as error:
            self._warn_once(f"{error}: a FullGraph of the recording is left out")
            return
        if self._state and self._state.shows_same_graph(state):
            state = GraphState(self._state.graph, state.nodes, state.has_metadata)
        elif self._state:
            self.graph_version += 1
        self._state = state
        self._moved = True

    def _show_update(self, message: PositionUpdate) -> None:
        if self._state is None:
            try:
                self._state = GraphState.from_nodes(message.nodes, self._playlist.name)
            except InputError as error:
                self._warn_once(f"{error}: a PositionUpdate of the recording is left out")
                return
        else:
            self._state, unknown = self._state.moved(message.nodes)
            if unknown:
                self._warn_once(f"{self._playlist.name}: nodes that its FullGraph does not have are left out")
        self._settled = message.settled
        self._moved = True

    def _read(self, timed: TimedMessage) -> Message | None:
        try:
            return self._positions.read(timed.captured)
        except ProtocolError as error:
            if self._jumped and is_compact(timed.captured):
                self._chain_is_broken = True
                return None
            number = f"message {timed.number}" if timed.number >= 0 else "a message"
            where = f"{number} (at byte {timed.captured.offset} of the recording)"
            self._warn_once(f"{self._playlist.name}: {error.message}, in {where}; it is left out")
            return None

    def _warn_once(self, text: str) -> None:
        """Log a warning once, even if the recording loops, and at most MAX_WARNINGS of them."""
        if text in self._warned or len(self._warned) >= MAX_WARNINGS:
            return
        self._warned.add(text)
        last = " (further damage in this recording is not reported)" if len(self._warned) == MAX_WARNINGS else ""
        log.warning("%s%s", text, last)


def _stamped(event: VoiceData | Notice, now_us: int) -> Message:
    if isinstance(event, Notice) or event.trailer is None:
        return event
    return replace(event, trailer=Trailer(event.trailer.sequence, now_us, 0))
