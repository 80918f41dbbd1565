"""Delivery policy: which clients are due, with which filter and encoding, and which skip. Pure: time is passed in."""

from vfctl.stream.audience import Audience, Pieces, Scene
from vfctl.stream.backpressure import Backlog, Delivery, SlowClientPolicy
from vfctl.stream.coordinator import ClientCoordinator, Due, Intervals
from vfctl.stream.filters import FilterIndex, Subset
from vfctl.stream.variants import ConnectionOptions, Encoding, Variant

__all__ = [
    "Audience",
    "Backlog",
    "ClientCoordinator",
    "ConnectionOptions",
    "Delivery",
    "Due",
    "Encoding",
    "FilterIndex",
    "Intervals",
    "Pieces",
    "Scene",
    "SlowClientPolicy",
    "Subset",
    "Variant",
]
