"""Locust's user for the comparison: websocket-client under gevent, as Locust's documentation has it for WebSockets.

Locust knows a message only through the `request` event that the user fires; its statistics are made from that.
"""

import struct
import time

import websocket
from locust import User, task

TRAILER = struct.Struct("<QQI")
POSITION_UPDATE = 2


class Viewer(User):
    """One client that watches; it never ends by itself."""

    def on_start(self) -> None:
        self.socket = websocket.create_connection(self.host)

    @task
    def watch(self) -> None:
        while True:
            payload = self.socket.recv()
            if payload[1] == POSITION_UPDATE:
                stamp_us = TRAILER.unpack_from(payload, len(payload) - TRAILER.size)[1]
                self.environment.events.request.fire(
                    request_type="WS",
                    name="frame",
                    response_time=(time.time_ns() // 1000 - stamp_us) / 1000,
                    response_length=len(payload),
                    exception=None,
                    context={},
                )
