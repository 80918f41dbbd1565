"""The bus between the frame source and the gateways: states, events and commands in envelopes."""

from vfctl.bus.envelope import EVERYBODY, TIMESTAMP, BusConnection, Envelope, Kind
from vfctl.bus.unix_socket import BusServer, UnixBusConnection, subscribe

__all__ = [
    "EVERYBODY",
    "TIMESTAMP",
    "BusConnection",
    "BusServer",
    "Envelope",
    "Kind",
    "UnixBusConnection",
    "subscribe",
]
