"""Latency histograms that merge without loss, and their text form, which HdrHistogram tools read."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_HALF_BITS: Final = 10
_HALF: Final = 1 << _HALF_BITS
MAX_US: Final = 3_600_000_000
"""One hour. Longer values are counted as this; the exact maximum is kept separately."""


def bucket_of(values_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bucket numbers, int64 [values]: below 2048 µs one bucket per µs, above it 1024 buckets for each doubling.

    The layout is HdrHistogram's for three significant digits (https://hdrhistogram.github.io/HdrHistogram/):
    a bucket is never wider than a thousandth of the values in it.
    """
    exponent = np.maximum(np.frexp(values_us.astype(np.float64))[1].astype(np.int64) - _HALF_BITS - 1, 0)
    return (exponent << _HALF_BITS) + (values_us >> exponent)


_GROW_BUCKETS: Final = _HALF
"""Buckets that are added for each doubling of the largest value: 8 KB."""


def upper_edge_us(bucket: int) -> int:
    """The largest value, in µs, that falls into a bucket."""
    exponent = max((bucket >> _HALF_BITS) - 1, 0)
    return ((bucket - (exponent << _HALF_BITS) + 1) << exponent) - 1


class LatencyHistogram:
    """Counts of values in µs, three significant digits; memory follows the largest value, not the number of values:
    24 KB up to 4 ms, 8 KB more for each doubling, 190 KB at most.

    Attributes:
        count: values recorded.
        min_us, max_us: the exact extremes; 0 while empty.
    """

    __slots__ = ("_counts", "_sum_us", "count", "max_us", "min_us")

    def __init__(self) -> None:
        self._counts = np.zeros(0, np.int64)
        self._sum_us = 0
        self.count = 0
        self.min_us = 0
        self.max_us = 0

    def record(self, values_us: npt.NDArray[np.int64]) -> None:
        """Count values, int64 [values] in µs.

        A negative value (a clock that was set back between timestamp and arrival) counts as 0 in the buckets and the
        mean. `min_us` keeps it.
        """
        if not len(values_us):
            return
        low, high = int(values_us.min()), int(values_us.max())
        self.min_us = min(self.min_us, low) if self.count else low
        self.max_us = max(self.max_us, high) if self.count else high
        clipped = np.clip(values_us, 0, MAX_US)
        buckets = bucket_of(clipped)
        first = int(buckets.min())
        counts = np.bincount(buckets - first)
        self._reserve(first + len(counts))
        self._counts[first : first + len(counts)] += counts
        self._sum_us += int(clipped.sum())
        self.count += len(values_us)

    def merge(self, other: LatencyHistogram) -> None:
        """Add the counts of `other`, as if its values had been recorded here."""
        if not other.count:
            return
        self.min_us = min(self.min_us, other.min_us) if self.count else other.min_us
        self.max_us = max(self.max_us, other.max_us) if self.count else other.max_us
        self._reserve(len(other._counts))
        self._counts[: len(other._counts)] += other._counts
        self._sum_us += other._sum_us
        self.count += other.count

    def clear(self) -> None:
        """Remove all values."""
        self._counts = np.zeros(0, np.int64)
        self._sum_us = self.count = self.min_us = self.max_us = 0

    def _reserve(self, buckets: int) -> None:
        if buckets > len(self._counts):
            grown = np.zeros(-(-buckets // _GROW_BUCKETS) * _GROW_BUCKETS, np.int64)
            grown[: len(self._counts)] = self._counts
            self._counts = grown

    def percentile_us(self, percent: float) -> int:
        """The smallest recorded value (to three digits) that `percent` of all values do not exceed.

        Raises:
            ValueError: the histogram is empty. There is no such value, and 0 would pass every gate.
        """
        if not self.count:
            raise ValueError("an empty histogram has no percentiles")
        rank = max(1, int(np.ceil(percent / 100 * self.count - 1e-6)))  # 0.07 * 100 is a little over 7
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        return min(upper_edge_us(bucket), self.max_us)

    def mean_us(self) -> float:
        """Arithmetic mean.

        Raises:
            ValueError: the histogram is empty.
        """
        if not self.count:
            raise ValueError("an empty histogram has no mean")
        return self._sum_us / self.count

    def encoded(self) -> str:
        """All counts as text, see `encode_counts`. The extremes and the sum are not in it; `summary` has them."""
        return encode_counts(self._counts, MAX_US)

    @classmethod
    def decoded(cls, text: str, max_us: int | None = None) -> LatencyHistogram:
        """A histogram from the text that `encoded` has returned. Percentiles are those of the original; the minimum and
        the mean are as exact as the buckets.

        Args:
            max_us: the exact maximum, which is not in the text; None: the upper edge of the highest bucket.

        Raises:
            ValueError: it is no such text.
        """
        made, counts = cls(), decode_counts(text)
        filled = np.flatnonzero(counts)
        if len(filled):
            edges_us = [upper_edge_us(bucket) for bucket in filled.tolist()]
            made._counts = counts
            made.count = int(counts.sum())
            made._sum_us = int(counts[filled] @ np.array(edges_us, np.int64))
            made.min_us, made.max_us = edges_us[0], edges_us[-1] if max_us is None else max_us
        return made

    def summary(self) -> Summary:
        """The metrics for results, in ms."""
        if not self.count:
            return Summary(0)
        p50, p90, p95, p99, p999 = (self.percentile_us(percent) / 1000 for percent in (50, 90, 95, 99, 99.9))
        mean = round(self.mean_us() / 1000, 3)
        return Summary(self.count, self.min_us / 1000, p50, p90, p95, p99, p999, self.max_us / 1000, mean)


@dataclass(frozen=True, slots=True)
class Summary:
    """Metrics of a histogram in ms. All are None if nothing was recorded, because 0 would pass a gate."""

    count: int
    min: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    max: float | None = None
    mean: float | None = None


_COOKIE: Final = 0x1C849303 | 0x10
_COMPRESSED_COOKIE: Final = 0x1C849304 | 0x10
_HEADER: Final = struct.Struct(">IIIIQQd")
_ENVELOPE: Final = struct.Struct(">II")
_DIGITS: Final = 3
_MAX_BUCKETS: Final = 1 << 16
"""More than an hour in µs needs. It bounds the memory for a damaged text."""


def encode_counts(counts: npt.NDArray[np.int64], highest_us: int) -> str:
    """Encode counts as text, int64 [buckets] as numbered by `bucket_of`.

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
    """Decode the text of `encode_counts`: int64 [buckets], without zeros at the end.

    Raises:
        ValueError: it is no such text, or has another resolution.
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
    """Encode by zigzag, then 7 bits per byte."""
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
