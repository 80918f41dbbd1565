"""The positions of a recording, whatever their encoding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vfctl.capture.captured import CapturedMessage, Form, flags_of
from vfctl.protocol import NODE_DTYPE, Flag, Message, MessageType, Nodes, PositionUpdate, decode
from vfctl.protocol.deployed import decode_deployed
from vfctl.protocol.position_decoder import PositionDecoder


class Positions:
    """Turns the messages of one connection into graphs and updates, in order.

    COMPACT updates depend on those before them, so each has to be given; of all others only those that are wanted.
    """

    def __init__(self) -> None:
        self._decoder = PositionDecoder()

    def depends(self, captured: CapturedMessage) -> bool:
        """Whether later messages may not be decodable unless this one is."""
        return captured.form is Form.V4 and (captured.payload[1] == MessageType.FULL_GRAPH or is_compact(captured))

    def read(self, captured: CapturedMessage) -> Message:
        """What a message says; a COMPACT update, or a frame of a deployed server, as a PositionUpdate.

        Raises:
            ProtocolError: it is not well-formed, or a COMPACT update that is predicted from what has not been read.
        """
        if captured.form is not Form.V4:
            frame = decode_deployed(captured.payload)
            return PositionUpdate(_plain_nodes(frame.records, frame.ids))
        return self._decoder.decode(decode(captured.payload))


def is_compact(captured: CapturedMessage) -> bool:
    """Whether this is a COMPACT update."""
    return (
        captured.form is Form.V4
        and captured.payload[1] == MessageType.POSITION_UPDATE
        and Flag.COMPACT in flags_of(captured.payload)
    )


def _plain_nodes(records: npt.NDArray[np.void], ids: npt.NDArray[np.uint32]) -> Nodes:
    nodes = np.zeros(len(records), NODE_DTYPE)
    for name in ("x", "y", "z", "vx", "vy", "vz"):
        nodes[name] = records[name]
    nodes["id"] = ids
    return nodes
