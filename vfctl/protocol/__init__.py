"""The V4 wire format: bytes to messages and back, and RFC 6455 framing. Sans-IO: no clock, socket, task or log."""

from vfctl.protocol.codec import decode, encode, encode_parts
from vfctl.protocol.compact_encoder import CompactEncoder, History, View
from vfctl.protocol.filter import EVERYTHING, Filter
from vfctl.protocol.grid import Grid, positions_of
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
from vfctl.protocol.position_decoder import PositionDecoder
from vfctl.protocol.wire import EDGE_DTYPE, NODE_DTYPE, Flag, MessageSplitter, MessageType, message_length

__all__ = [
    "EDGE_DTYPE",
    "EVERYTHING",
    "NODE_DTYPE",
    "CompactEncoder",
    "CompactUpdate",
    "Edges",
    "Filter",
    "FilterUpdate",
    "Flag",
    "FullGraph",
    "Grid",
    "Heartbeat",
    "History",
    "Message",
    "MessageSplitter",
    "MessageType",
    "Metadata",
    "NodeDrag",
    "NodeSelect",
    "Nodes",
    "Notice",
    "PositionDecoder",
    "PositionUpdate",
    "Reserved",
    "Trailer",
    "View",
    "VoiceData",
    "decode",
    "describe",
    "encode",
    "encode_parts",
    "message_length",
    "positions_of",
]
