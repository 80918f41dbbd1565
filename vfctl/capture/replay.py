"""A recording in the place of the physics: ticked like it, with the time passed in."""

from __future__ import annotations

import logging
import math
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from vfctl.capture.captured import CapturedMessage, flags_of
from vfctl.capture.reader import open_capture
from vfctl.capture.reel import Reel, Stage
from vfctl.capture.timeline import UNTIMED_INTERVAL_S, TimedMessage, in_recording
from vfctl.errors import CaptureError, InputError, ProtocolError, UsageError, VfctlError
from vfctl.graph import Graph, to_full_graph
from vfctl.protocol import (
    Flag,
    FullGraph,
    Message,
    MessageType,
    NodeDrag,
    PositionUpdate,
    Trailer,
    VoiceData,
    decode,
)

log = logging.getLogger(__name__)

MAX_WAITING_VOICE: Final = 1024
"""Speech that nobody collects is kept up to here (20 s of one speaker), then the oldest goes."""

MAX_WARNINGS: Final = 20


class ReplaySource:
    """Plays a recording in the shape of the PhysicsOrchestrator.

    The recording's clock starts at `start_s` with the first `tick`. The file is read as it is played, so memory stays
    flat however long it is. What is damaged is left out, with a warning in the log.

    Args:
        capture_path: a recording, `-` for stdin.
        speed: seconds of the recording that pass in one second.
        loop: begin again at `start_s` when it has ended.
        start_s: where to start, in seconds from the recording's start.

    Attributes:
        graph_version: grows whenever the recording goes over to another graph.
        settled: whether the newest positions were recorded as those of a stable layout.

    Raises:
        UsageError: a speed that is not positive, a start beyond the end, or a loop over what can be read only once.
        InputError: the file cannot be read, or its positions are COMPACT.
        CaptureError: it is no recording, or has no positions at all.
    """

    def __init__(
        self, capture_path: str | Path, *, speed: float = 1.0, loop: bool = False, start_s: float = 0.0
    ) -> None:
        if not (speed > 0 and math.isfinite(speed)):
            raise UsageError(f"a replay at speed {speed:g}, expected a positive number")
        if not (start_s >= 0 and math.isfinite(start_s)):
            raise UsageError(f"a replay from {start_s:g} s, expected 0 or more")
        self.graph_version = 0
        self.settled = False
        self._speed = speed
        self._loop = loop
        self._start_s = start_s
        self._origin_us: int | None = None
        self._ticks = 0
        self._moved = False
        self._stage: Stage | None = None
        self._voice: deque[VoiceData] = deque(maxlen=MAX_WAITING_VOICE)
        self._warned: set[str] = set()
        self._capture = open_capture(capture_path)
        try:
            if self._capture.rereadable:
                _refuse_compact(self._first_update())
            elif loop:
                raise UsageError(f"{self._capture.name} can only be read once, expected a file to replay in a loop")
            self._reel = Reel(self._capture)
            self._show_start()
        finally:
            self._capture.close()

    @property
    def graph(self) -> Graph:
        """The graph that is being played."""
        return self._present.graph

    @property
    def finished(self) -> bool:
        """Whether the recording has ended for good; its last state stays."""
        return self._reel.ended and not self._loop

    def tick(self, now_us: int) -> PositionUpdate | None:
        """The newest recorded positions whose time has come, or None if the last ones are still valid.

        Args:
            now_us: unix time in µs.

        Returns:
            All nodes of `graph`, in its order, stamped with `now_us`.

        Raises:
            InputError: the recording goes over to COMPACT positions.
        """
        self._ticks += 1
        self._advance(now_us)
        if not self._moved:
            return None
        self._moved = False
        return PositionUpdate(self._present.nodes, self.settled, Trailer(self._ticks, now_us, 0))

    def full_graph(self, now_us: int) -> FullGraph:
        """The graph with its present positions; with METADATA if the recording has it."""
        stage = self._present
        trailer = Trailer(self._ticks, now_us, 0)
        return to_full_graph(stage.graph, stage.nodes, trailer=trailer, metadata=stage.has_metadata)

    def events(self, now_us: int) -> list[Message]:
        """Recorded speech that has become due since the last call, stamped with the present time.

        Raises:
            InputError: as for `tick`.
        """
        self._advance(now_us)
        due: list[Message] = [_stamped(voice, now_us) for voice in self._voice]
        self._voice.clear()
        return due

    def apply(self, message: Message) -> None:
        """Do what a client asks, as far as a recording can.

        Raises:
            InputError: it is a drag.
        """
        if isinstance(message, NodeDrag):
            raise InputError("this is a replay: nodes move as they were recorded and cannot be dragged")

    @property
    def _present(self) -> Stage:
        assert self._stage is not None  # __init__ does not return without one
        return self._stage

    def _first_update(self) -> CapturedMessage | None:
        with suppress(VfctlError):  # damage is reported when it is played
            return next((each for each in self._capture if each.payload[1] == MessageType.POSITION_UPDATE), None)
        return None

    def _show_start(self) -> None:
        """Pass over what comes before the start, and go as far as it takes to have something to show."""
        self._play(self._start_s)
        if self._reel.ended and self._reel.latest_s < self._start_s:
            raise UsageError(
                f"a replay from {self._start_s:g} s, but {self._capture.name} ends after {self._reel.latest_s:g} s"
            )
        while self._stage is None and not self._reel.ended:
            self._play(self._reel.next_s)
        if self._stage is None:
            raise self._reel.damage or CaptureError(f"{self._capture.name} has no FullGraph and no PositionUpdate")
        self._voice.clear()

    def _advance(self, now_us: int) -> None:
        if self._origin_us is None:
            self._origin_us = now_us
        position_s = self._start_s + (now_us - self._origin_us) * self._speed / 1e6
        self._play(position_s)
        # The last frame is shown as long as any other, which also keeps a loop over a single one from spinning.
        if self._loop and self._reel.ended and position_s >= self._reel.latest_s + UNTIMED_INTERVAL_S:
            self._reel = Reel(self._capture)
            self._origin_us = now_us
            self._play(self._start_s)

    def _play(self, until_s: float) -> None:
        """Take what is due. Of graphs and positions only the newest are decoded: the others would never be seen."""
        graph: TimedMessage | None = None
        update: TimedMessage | None = None
        for timed in self._reel.due(until_s):
            match timed.captured.payload[1]:
                case MessageType.FULL_GRAPH:
                    graph, update = timed, None
                case MessageType.POSITION_UPDATE:
                    _refuse_compact(timed.captured)
                    update = timed
                case MessageType.VOICE_DATA:
                    voice = self._decode(timed)
                    if isinstance(voice, VoiceData):
                        self._voice.append(voice)
        if graph:
            self._show_graph(graph)
        if update:
            self._show_update(update)
        if self._reel.damage:
            self._warn_once(f"{self._reel.damage}; the replay ends there")

    def _show_graph(self, timed: TimedMessage) -> None:
        message = self._decode(timed)
        if not isinstance(message, FullGraph):
            return
        try:
            stage = Stage.from_graph(message, self._capture.name)
        except InputError as error:
            self._warn_once(f"{error}: a FullGraph of the recording is left out")
            return
        if self._stage and not self._stage.shows_same_graph(stage):
            self.graph_version += 1
        self._stage = stage
        self._moved = True

    def _show_update(self, timed: TimedMessage) -> None:
        message = self._decode(timed)
        if not isinstance(message, PositionUpdate):
            return
        if self._stage is None:
            try:
                self._stage = Stage.from_nodes(message.nodes, self._capture.name)
            except InputError as error:
                self._warn_once(f"{error}: a PositionUpdate of the recording is left out")
                return
        else:
            self._stage, unknown = self._stage.moved(message.nodes)
            if unknown:
                self._warn_once(f"{self._capture.name}: nodes that its FullGraph does not have are left out")
        self.settled = message.settled
        self._moved = True

    def _decode(self, timed: TimedMessage) -> Message | None:
        try:
            return decode(timed.captured.payload)
        except ProtocolError as error:
            self._warn_once(f"{self._capture.name}: {in_recording(error, timed)}; it is left out")
            return None

    def _warn_once(self, text: str) -> None:
        """Each warning comes once, however often the recording goes round; and not more than a reader can bear."""
        if text in self._warned or len(self._warned) >= MAX_WARNINGS:
            return
        self._warned.add(text)
        last = " (further damage in this recording is not reported)" if len(self._warned) == MAX_WARNINGS else ""
        log.warning("%s%s", text, last)


def _refuse_compact(captured: CapturedMessage | None) -> None:
    if captured and Flag.COMPACT in flags_of(captured.payload):
        raise InputError(
            "a recording of COMPACT positions cannot be replayed yet",
            hint="record with encoding=raw or encoding=lz4 in the URL",
        )


def _stamped(voice: VoiceData, now_us: int) -> VoiceData:
    if voice.trailer is None:
        return voice
    return replace(voice, trailer=Trailer(voice.trailer.sequence, now_us, 0))
