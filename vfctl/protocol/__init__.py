"""The V4 wire format: bytes <-> messages, and RFC 6455 framing. Sans-IO: no clock, socket, task or log."""

from vfctl.protocol.codec import decode, encode
from vfctl.protocol.filter import EVERYTHING, Filter
from vfctl.protocol.layout import MessageSplitter, message_length
from vfctl.protocol.messages import (
    CompactUpdate,
    Edges,
    FilterUpdate,
    FullGraph,
    Heartbeat,
    Message,
    Metadata,
    NodeDrag,
    Nodes,
    NodeSelect,
    Notice,
    PositionUpdate,
    Reserved,
    Trailer,
    VoiceData,
    describe,
)
from vfctl.protocol.wire import EDGE_DTYPE, NODE_DTYPE, Flag, MessageType

__all__ = [
    "EDGE_DTYPE",
    "EVERYTHING",
    "NODE_DTYPE",
    "CompactUpdate",
    "Edges",
    "Filter",
    "FilterUpdate",
    "Flag",
    "FullGraph",
    "Heartbeat",
    "Message",
    "MessageSplitter",
    "MessageType",
    "Metadata",
    "NodeDrag",
    "NodeSelect",
    "Nodes",
    "Notice",
    "PositionUpdate",
    "Reserved",
    "Trailer",
    "VoiceData",
    "decode",
    "describe",
    "encode",
    "message_length",
]
