"""The section of a COMPACT update: a key frame, or what prediction from two earlier states leaves over.

Pure functions between integers on a grid and bytes; `docs/protocol.md` is the normative text, and who remembers which
states are `compact_encoder` and `position_decoder`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vfctl.errors import ProtocolError
from vfctl.protocol.grid import MAX_INTEGER, NOWHERE, Grid, Integers
from vfctl.protocol.packing import pack, unpack

_PREFIX = struct.Struct("<II")
_CHECK = struct.Struct("<I")
_LAGS = struct.Struct("<HH")
_KEY = struct.Struct("<fiiiI")

HEADER_BYTES: Final = _PREFIX.size + _CHECK.size + _LAGS.size
_LAGS_AT: Final = _PREFIX.size + _CHECK.size

KEY: Final = 0xFFFF
"""In the place of the lag of the newest state: there is none, this is a key frame."""

MAX_LAG: Final = KEY - 1
"""States further apart than this are not predicted from one another."""

SECTION_OFFSET: Final = 12
"""Where a section stands in its message."""


def most_section_bytes(count: int) -> int:
    """No section of so many nodes is longer. Any positions fit: a value has 85 bits at most."""
    return 64 + 32 * count


def ids_check(ids: npt.NDArray[np.uint32]) -> int:
    """CRC-32 of the node ids of a FullGraph, u32 [nodes]: where that of a section begins.

    So a frame that was made for other nodes, or for the same in another order, is refused.
    """
    return zlib.crc32(ids.astype("<u4").tobytes())


@dataclass(frozen=True, slots=True)
class SectionHeader:
    """The first 16 bytes of a section, its CRC checked.

    Attributes:
        chain: states of one chain are on one grid.
        position: number of this state in it; as far apart in time as the states are.
        back: how far the newest state that this is predicted from lies before it; 0: it is that state. None: this is a
            key frame.
        span: how far the state before that lies before it. Of a key frame: how far the state lies before this one
            whose difference it carries. 0: there is none, and velocity counts as 0.
    """

    chain: int
    position: int
    back: int | None
    span: int


def extrapolate(earlier: Integers, latest: Integers, span: int, back: int) -> Integers:
    """Where the nodes are `back` after `latest` if they go on as they did in the `span` between the two.

    Exact on every machine: latest + floor((2·back·(latest − earlier) + span) / (2·span)), held within the grid's box.
    The numerator stays below 2^43, so a float64 quotient never rounds up to the next integer.

    Args:
        earlier, latest: int32 [3, nodes]; `earlier` is not read if `span` is 0.
    """
    if not span or not back:
        return latest
    if back == span:
        predicted = 2 * latest - earlier
    else:
        moved = (latest - earlier).astype(np.float64)
        moved *= 2 * back
        moved += span
        moved /= 2 * span
        np.floor(moved, out=moved)
        moved += latest
        predicted = np.clip(moved, NOWHERE, MAX_INTEGER).astype(np.int32)
    return np.clip(predicted, NOWHERE, MAX_INTEGER, out=predicted)


def residual_section(residual: Integers, header: SectionHeader, check: int) -> bytes | None:
    """A frame for those who have the states that it is predicted from; None if it would be longer than is allowed.

    Args:
        residual: int32 [3, nodes], the state less its prediction.
        check: `ids_check` of these nodes.
    """
    assert header.back is not None
    packed = pack(residual, most_section_bytes(residual.shape[1]) - HEADER_BYTES)
    return None if packed is None else _section(header, _LAGS.pack(header.back, header.span) + packed, check)


def key_section(
    grid: Grid, state: Integers, difference: Integers | None, header: SectionHeader, check: int
) -> tuple[bytes, int]:
    """A frame for those who have nothing yet, and its span: 0 also if the difference was too much for it.

    Args:
        state: int32 [3, nodes].
        difference: `state` less that of `header.span` before it; None if the span is 0.
        check: `ids_check` of these nodes.
    """
    count = state.shape[1]
    most = most_section_bytes(count) - HEADER_BYTES - _KEY.size
    centre = _centre(state)
    packed = pack(state - centre[:, None], most)
    assert packed is not None, "what lies within the grid's box fits"
    differences = None if difference is None else pack(difference, most - len(packed))
    span = 0 if differences is None else header.span
    key = _KEY.pack(grid.step, *centre.tolist(), len(packed))
    body = _LAGS.pack(KEY, span) + key + packed + (differences or b"")
    return _section(header, body, check), span


def read_header(section: bytes | memoryview, count: int, check: int) -> SectionHeader:
    """The header of a section for `count` nodes with this `ids_check`.

    Raises:
        ProtocolError: it is too short or too long for these nodes, or damaged, or was made for other nodes.
    """
    if len(section) < HEADER_BYTES:
        raise ProtocolError(
            f"a COMPACT section of {len(section)} bytes, expected at least {HEADER_BYTES}", offset=SECTION_OFFSET - 4
        )
    most = most_section_bytes(count)
    if len(section) > most:
        raise ProtocolError(
            f"a COMPACT section of {len(section)} bytes, expected at most {most} for {count} nodes",
            offset=SECTION_OFFSET - 4,
        )
    (sent,) = _CHECK.unpack_from(section, _PREFIX.size)
    found = _checksum(section[: _PREFIX.size], section[_LAGS_AT:], check)
    if sent != found:
        raise ProtocolError(
            f"CRC-32 0x{sent:08x}, expected 0x{found:08x}: a damaged COMPACT section, or one for other nodes",
            offset=SECTION_OFFSET + _PREFIX.size,
        )
    chain, position = _PREFIX.unpack_from(section)
    back, span = _LAGS.unpack_from(section, _LAGS_AT)
    return SectionHeader(chain, position, None if back == KEY else back, span)


def read_residual(section: bytes | memoryview, predicted: Integers) -> Integers:
    """The state that a residual frame carries, int32 [3, nodes].

    Args:
        predicted: int32 [3, nodes], see `extrapolate`.

    Raises:
        ProtocolError: the body is not what it should be.
    """
    residual = unpack(section[HEADER_BYTES:], predicted.shape[1], offset=SECTION_OFFSET + HEADER_BYTES)
    return _within_box(predicted + residual)


def read_key(section: bytes | memoryview, count: int, span: int) -> tuple[Grid, Integers, Integers | None]:
    """The grid, the state and the one `span` before it (None if the span is 0) that a key frame carries.

    Raises:
        ProtocolError: the body is not what it should be.
    """
    at = SECTION_OFFSET + HEADER_BYTES
    if len(section) < HEADER_BYTES + _KEY.size:
        raise ProtocolError(f"a key frame of {len(section)} bytes, cut short", offset=SECTION_OFFSET + len(section))
    step, x, y, z, length = _KEY.unpack_from(section, HEADER_BYTES)
    if not 2.0**-126 <= step <= 2.0**104:  # also refuses NaN
        raise ProtocolError(f"a grid with step {step:g}, expected 2^-126 to 2^104", offset=at)
    centre = np.array([[x], [y], [z]], np.int32)
    _within_box(centre, at + 4)
    body = section[HEADER_BYTES + _KEY.size :]
    if length > len(body) or (not span and length != len(body)):
        raise ProtocolError(f"{length} bytes of positions in {len(body)}", offset=at + 16)
    at += _KEY.size
    state = _within_box(unpack(body[:length], count, offset=at) + centre, at)
    if not span:
        return Grid(step), state, None
    return Grid(step), state, _within_box(state - unpack(body[length:], count, offset=at + length), at + length)


def check_section(section: bytes | memoryview, count: int) -> None:
    """What one section tells by itself, for those who do not follow its chain; its CRC-32 is not looked at.

    Raises:
        ProtocolError: as for reading it, if the fault is in the section itself.
    """
    if not HEADER_BYTES <= len(section) <= most_section_bytes(count):
        raise ProtocolError(f"a COMPACT section of {len(section)} bytes for {count} nodes", offset=SECTION_OFFSET - 4)
    back, span = _LAGS.unpack_from(section, _LAGS_AT)
    if back == KEY:
        read_key(section, count, span)
    else:
        unpack(section[HEADER_BYTES:], count, offset=SECTION_OFFSET + HEADER_BYTES)


def _section(header: SectionHeader, rest: bytes, check: int) -> bytes:
    prefix = _PREFIX.pack(header.chain, header.position)
    return prefix + _CHECK.pack(_checksum(prefix, rest, check)) + rest


def _checksum(prefix: bytes | memoryview, rest: bytes | memoryview, check: int) -> int:
    return zlib.crc32(rest, zlib.crc32(prefix, check))


def _centre(state: Integers) -> npt.NDArray[np.int32]:
    """int32 [3]: the mean of the coordinates that are somewhere."""
    if state.min(initial=0) == NOWHERE:
        rows = [row[row != NOWHERE] for row in state]
        return np.array([int(row.mean()) if row.size else NOWHERE for row in rows], np.int32)
    return state.mean(axis=1).astype(np.int32) if state.size else np.zeros(3, np.int32)


def _within_box(state: Integers, offset: int = SECTION_OFFSET + HEADER_BYTES) -> Integers:
    """The state as it is.

    Raises:
        ProtocolError: a node is outside of the grid's box.
    """
    lowest, highest = int(state.min(initial=0)), int(state.max(initial=0))
    if lowest < NOWHERE or highest > MAX_INTEGER:
        outside = lowest if lowest < NOWHERE else highest
        raise ProtocolError(f"integer {outside} on the grid, expected {NOWHERE} to {MAX_INTEGER}", offset=offset)
    return state
