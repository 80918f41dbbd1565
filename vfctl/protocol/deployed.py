"""The frames of deployed VisionFlow servers: V2, V3, V5 and `0x42` (`docs/captures.md` has the layouts).

vfctl only reads them. They have no count, so the reader must know where a frame ends. The upper bits of ids are flags.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from vfctl.errors import ProtocolError
from vfctl.protocol.wire import VERSION, Buffer, message_length

_PLACE: Final = [("id", "<u4"), ("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("vx", "<f4"), ("vy", "<f4"), ("vz", "<f4")]
_TREE: Final = [*_PLACE, ("distance", "<f4"), ("parent", "<i4")]
_ANALYSIS: Final = [*_TREE, ("cluster", "<u4"), ("anomaly", "<f4"), ("community", "<u4")]

V2_DTYPE: Final = np.dtype(_TREE)
"""One node of V2: 36 bytes. `distance` is the length of the shortest path to it, `parent` the node before it (-1:
none)."""

V3_DTYPE: Final = np.dtype(_ANALYSIS)
"""One node of V3 and V5: 48 bytes, as V2, with the results of an analysis."""

SEQUENCED_DTYPE: Final = np.dtype(_PLACE)
"""One node of a `0x42` frame: 28 bytes."""

ID_MASK: Final = 0x03FFFFFF
"""The bits of the id itself; the others are `NodeFlag`s."""


class Form(StrEnum):
    """The form of a payload: a V4 message, or a frame of a deployed server."""

    V4 = "v4"
    V2 = "v2"
    V3 = "v3"
    V5 = "v5"
    SEQUENCED = "sequenced"


class NodeFlag(IntFlag):
    """The flags of deployed servers in the bits of an id outside ID_MASK."""

    CLASS = 1 << 26
    INDIVIDUAL = 1 << 27
    PROPERTY = 1 << 28
    KNOWLEDGE = 1 << 30
    AGENT = 1 << 31


@dataclass(frozen=True, slots=True)
class _Layout:
    form: Form
    first: int
    sequenced: bool
    dtype: np.dtype[np.void]

    @property
    def name(self) -> str:
        return self.form.value.capitalize()

    @property
    def head_bytes(self) -> int:
        return 1 + (_SEQUENCE.size if self.sequenced else 0)


_SEQUENCE: Final = struct.Struct("<Q")
_LAYOUTS: Final = {
    layout.first: layout
    for layout in (
        _Layout(Form.V2, 0x02, False, V2_DTYPE),
        _Layout(Form.V3, 0x03, False, V3_DTYPE),
        _Layout(Form.V5, 0x05, True, V3_DTYPE),
        _Layout(Form.SEQUENCED, 0x42, True, SEQUENCED_DTYPE),
    )
}

FIRST_BYTES: Final[dict[int, Form]] = {first: layout.form for first, layout in _LAYOUTS.items()}
"""The first byte of each deployed form."""


@dataclass(frozen=True, slots=True, eq=False)
class DeployedFrame:
    """One decoded frame of a deployed server.

    Attributes:
        form: the form.
        sequence: u64 number of the broadcast; None for V2 and V3.
        records: [nodes], V2_DTYPE, V3_DTYPE or SEQUENCED_DTYPE by `form`. A view of the payload; `id` has its flags.
    """

    form: Form
    sequence: int | None
    records: npt.NDArray[np.void]

    @property
    def ids(self) -> npt.NDArray[np.uint32]:
        """The node ids without their flags, uint32 [nodes]."""
        ids: npt.NDArray[np.uint32] = self.records["id"] & np.uint32(ID_MASK)
        return ids

    @property
    def flags(self) -> npt.NDArray[np.uint32]:
        """The flags of each id (`NodeFlag`, and other bits outside ID_MASK), uint32 [nodes], unshifted."""
        flags: npt.NDArray[np.uint32] = self.records["id"] & np.uint32(0xFFFFFFFF ^ ID_MASK)
        return flags


def decode_deployed(payload: Buffer) -> DeployedFrame:
    """Decode one frame, which must be all of `payload`. The records are a view, so do not change `payload`.

    Raises:
        ProtocolError: the first byte is of no deployed form, or the length does not fit the form.
    """
    layout, count, rest = _measured(payload)
    if rest:
        raise ProtocolError(
            f"{len(payload)} bytes of {layout.name}, expected {layout.head_bytes} and {layout.dtype.itemsize} a node",
            offset=len(payload) - rest,
        )
    sequence = _SEQUENCE.unpack_from(payload, 1)[0] if layout.sequenced else None
    return DeployedFrame(layout.form, sequence, np.frombuffer(payload, layout.dtype, count, layout.head_bytes))


def whole_records(payload: Buffer) -> int:
    """Number of bytes of whole nodes, and the header before them, in a frame that may be cut off.

    Raises:
        ProtocolError: as for `decode_deployed`, except for nodes that are cut off.
    """
    _, _, rest = _measured(payload)
    return len(payload) - rest


def form_of(payload: Buffer) -> Form:
    """Detect the form of a payload by its first byte and its length.

    Raises:
        ProtocolError: it is neither exactly one V4 message nor a frame of a deployed server.
    """
    if not payload:
        raise ProtocolError("no bytes, expected a message", offset=0)
    first = payload[0]
    if first == VERSION:
        length = message_length(payload)
        if length != len(payload):
            raise ProtocolError(
                f"{len(payload)} bytes, expected {length or 'more'}", offset=min(len(payload), length or 0)
            )
        return Form.V4
    layout, _, rest = _measured(payload)
    if rest:
        decode_deployed(payload)
    return layout.form


def _measured(payload: Buffer) -> tuple[_Layout, int, int]:
    """The record layout, the number of whole nodes, and the number of bytes that are left."""
    layout = _LAYOUTS.get(payload[0]) if payload else None
    if layout is None:
        found = f"version {payload[0]}" if payload else "no bytes"
        raise ProtocolError(f"{found}, expected 4, or 2, 3, 5 or 0x42 of deployed servers", offset=0)
    if len(payload) < layout.head_bytes:
        raise ProtocolError(
            f"{len(payload)} bytes of {layout.name}, expected {layout.head_bytes} or more", offset=len(payload)
        )
    count, rest = divmod(len(payload) - layout.head_bytes, layout.dtype.itemsize)
    return layout, count, rest
