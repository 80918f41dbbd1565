"""How states, events and commands travel between the frame source and the gateways."""

from vfctl.bus.envelope import EVERYBODY, TIMESTAMP, Envelope, Kind, Subscription
from vfctl.bus.unix_socket import BusServer, UnixSubscription, subscribe

__all__ = [
    "EVERYBODY",
    "TIMESTAMP",
    "BusServer",
    "Envelope",
    "Kind",
    "Subscription",
    "UnixSubscription",
    "subscribe",
]
