"""Histograms as text: HdrHistogram's V2 format, compressed and in base64, as its libraries in other languages read it.

The format: https://github.com/HdrHistogram/HdrHistogram/blob/master/src/main/java/org/HdrHistogram/EncodableHistogram.java
and AbstractHistogram.encodeIntoByteBuffer. Counts are ZigZag LEB128, a run of zeros is its negated length.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

_COOKIE: Final = 0x1C849303 | 0x10
_COMPRESSED_COOKIE: Final = 0x1C849304 | 0x10
_HEADER: Final = struct.Struct(">IIIIQQd")
_ENVELOPE: Final = struct.Struct(">II")
_DIGITS: Final = 3
_MAX_BUCKETS: Final = 1 << 16
"""More than an hour in µs needs; a damaged text cannot ask for more memory."""


def encode_counts(counts: npt.NDArray[np.int64], highest_us: int) -> str:
    """Text of a histogram's counts, int64 [buckets] in the layout of `bucket_of`.

    Args:
        highest_us: the largest value that the histogram can hold.
    """
    payload = bytearray()
    filled = np.flatnonzero(counts)
    after = 0
    for bucket, count in zip(filled.tolist(), counts[filled].tolist(), strict=True):
        if bucket > after:
            zeros = bucket - after
            _append(payload, -zeros if zeros > 1 else 0)
        _append(payload, count)
        after = bucket + 1
    header = _HEADER.pack(_COOKIE, len(payload), 0, _DIGITS, 1, highest_us, 1.0)
    compressed = zlib.compress(header + payload)
    return base64.b64encode(_ENVELOPE.pack(_COMPRESSED_COOKIE, len(compressed)) + compressed).decode("ascii")


def decode_counts(text: str) -> npt.NDArray[np.int64]:
    """The counts that `encode_counts` has written, int64 [buckets], without zeros at the end.

    Raises:
        ValueError: it is no such text, or of other resolution than ours.
    """
    try:
        packed = base64.b64decode(text, validate=True)
        cookie, length = _ENVELOPE.unpack_from(packed)
        if cookie != _COMPRESSED_COOKIE or len(packed) != _ENVELOPE.size + length:
            raise ValueError("not a compressed HdrHistogram V2")
        plain = zlib.decompress(packed[_ENVELOPE.size :])
        cookie, length, offset, digits, lowest, _, ratio = _HEADER.unpack_from(plain)
    except (binascii.Error, struct.error, zlib.error) as error:
        raise ValueError(f"not a compressed HdrHistogram V2: {error}") from None
    if cookie != _COOKIE or (offset, digits, lowest, ratio) != (0, _DIGITS, 1, 1.0):
        raise ValueError("not a HdrHistogram V2 of three digits from 1 µs up")
    if len(plain) != _HEADER.size + length:
        raise ValueError("a HdrHistogram that is cut off")
    return _counts(plain[_HEADER.size :])


def _append(payload: bytearray, number: int) -> None:
    """ZigZag, then 7 bits a byte."""
    rest = number << 1 if number >= 0 else (-number << 1) - 1
    while rest > 0x7F:
        payload.append(rest & 0x7F | 0x80)
        rest >>= 7
    payload.append(rest)


def _counts(payload: bytes) -> npt.NDArray[np.int64]:
    counts: list[int] = []
    rest, shift = 0, 0
    for byte in payload:
        rest |= (byte & 0x7F) << shift
        shift += 7
        if byte & 0x80:
            if shift > 56:
                raise ValueError("a HdrHistogram with a count beyond 63 bits")
            continue
        number = (rest >> 1) ^ -(rest & 1)
        if len(counts) + max(1, -number) > _MAX_BUCKETS:
            raise ValueError("a HdrHistogram with more buckets than an hour has")
        if number > 0:
            counts.append(number)
        else:
            counts.extend([0] * max(1, -number))
        rest, shift = 0, 0
    if shift:
        raise ValueError("a HdrHistogram that is cut off")
    return np.array(counts, np.int64)
