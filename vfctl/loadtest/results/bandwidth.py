"""The document that `vfctl bandwidth` writes, as types."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vfctl.loadtest.results.described import Described


class EncodingFigures(Described):
    """What one encoding makes of the frames of a phase."""

    frames: int
    bytes_per_frame: float
    bytes_per_node: float
    of_raw: float
    """Share of the raw bytes."""
    bytes_per_s: float
    """With a frame in each round of a moving layout."""
    encode_ms: float
    """Median of the frames."""
    decode_ms: float
    worst_error_units: float
    """Of any coordinate, in layout units."""
    worst_error_of_extent: float
    """The same as a share of the layout's extent."""


class Encodings(Described):
    """The same frames in every encoding."""

    raw: EncodingFigures
    lz4: EncodingFigures
    compact: EncodingFigures


class Bandwidth(Described):
    """What `vfctl bandwidth --json` prints."""

    version: Literal["vfctl.bandwidth/1"] = Field(alias="schema")
    source: str
    """The graph or recording."""
    nodes: int
    """The most of any frame."""
    rate_hz: int
    """Frames a second that `bytes_per_s` is for."""
    key_frames: int
    """Of COMPACT."""
    steps_per_extent: float
    """Of COMPACT's newest grid."""
    phases: dict[Literal["moving", "at_rest"], Encodings]
    """One that had no frames is left out."""
