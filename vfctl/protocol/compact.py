"""The section of a COMPACT update: a key frame, or the residual of a prediction from two earlier states.

Pure functions between integers on a grid and bytes. `docs/protocol.md` is normative. `compact_encoder` and
`position_decoder` keep the states.
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
"""Value of `back` in a key frame."""

MAX_LAG: Final = KEY - 1
"""Largest distance of states in a prediction."""

SECTION_OFFSET: Final = 12
"""Offset of a section in its message."""


def most_section_bytes(count: int) -> int:
    """The longest section of `count` nodes, in bytes. Any positions fit, because a value has at most 85 bits."""
    return 64 + 32 * count


def ids_check(ids: npt.NDArray[np.uint32]) -> int:
    """CRC-32 of the node ids of a FullGraph, u32 [nodes]. The CRC of a section continues it.

    So a frame for other nodes, or for the same nodes in another order, is refused.
    """
    return zlib.crc32(ids.astype("<u4").tobytes())


@dataclass(frozen=True, slots=True)
class SectionHeader:
    """The first 16 bytes of a section, without its CRC.

    Attributes:
        chain: number of the chain. All states of a chain are on one grid.
        position: number of this state in the chain, which grows in proportion to time.
        back: distance to the newest state of the prediction; 0 if nothing has changed since; None for a key frame.
        span: distance from that state to the one before it. In a key frame, distance from this state to the one before
            it. 0 if there is no earlier state, so that velocity counts as 0.
    """

    chain: int
    position: int
    back: int | None
    span: int


def extrapolate(earlier: Integers, latest: Integers, span: int, back: int) -> Integers:
    """Predict the state `back` after `latest`, if nodes continue as in the `span` from `earlier` to `latest`.

    Exact on every machine: latest + floor((2·back·(latest − earlier) + span) / (2·span)), limited to the grid's
    box. The numerator is below 2^43, so a float64 quotient never rounds up to the next integer.

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
    """Make a section for connections that have the states of the prediction; None if it would be too long.

    Args:
        residual: int32 [3, nodes], the state minus its prediction.
        check: `ids_check` of these nodes.
    """
    assert header.back is not None
    packed = pack(residual, most_section_bytes(residual.shape[1]) - HEADER_BYTES)
    return None if packed is None else _section(header, _LAGS.pack(header.back, header.span) + packed, check)


def key_section(
    grid: Grid, state: Integers, difference: Integers | None, header: SectionHeader, check: int
) -> tuple[bytes, int]:
    """Make a key frame, for connections without a state. Return it and its span, which is 0 if the difference did not
    fit.

    Args:
        state: int32 [3, nodes].
        difference: `state` minus the state `header.span` before it; None if the span is 0.
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
    """Read the header of a section for `count` nodes with this `ids_check`.

    Raises:
        ProtocolError: the section is too short, too long, damaged, or for other nodes.
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
    """Read the state of a residual frame, int32 [3, nodes].

    Args:
        predicted: int32 [3, nodes], see `extrapolate`.

    Raises:
        ProtocolError: the body is malformed.
    """
    residual = unpack(section[HEADER_BYTES:], predicted.shape[1], offset=SECTION_OFFSET + HEADER_BYTES)
    return _within_box(predicted + residual)


def read_key(section: bytes | memoryview, count: int, span: int) -> tuple[Grid, Integers, Integers | None]:
    """Read a key frame: the grid, the state, and the one `span` before it (None if the span is 0).

    Raises:
        ProtocolError: the body is malformed.
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
    """Describe a section without the states before it. Its CRC-32 is not checked.

    Raises:
        ProtocolError: the section itself is malformed.
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
    """The mean of the finite coordinates, int32 [3]."""
    if state.min(initial=0) == NOWHERE:
        rows = [row[row != NOWHERE] for row in state]
        return np.array([int(row.mean()) if row.size else NOWHERE for row in rows], np.int32)
    return state.mean(axis=1).astype(np.int32) if state.size else np.zeros(3, np.int32)


def _within_box(state: Integers, offset: int = SECTION_OFFSET + HEADER_BYTES) -> Integers:
    """Return `state`.

    Raises:
        ProtocolError: a node is outside the grid's box.
    """
    lowest, highest = int(state.min(initial=0)), int(state.max(initial=0))
    if lowest < NOWHERE or highest > MAX_INTEGER:
        outside = lowest if lowest < NOWHERE else highest
        raise ProtocolError(f"integer {outside} on the grid, expected {NOWHERE} to {MAX_INTEGER}", offset=offset)
    return state
