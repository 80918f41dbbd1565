"""The client's side of the opening handshake."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.http11 import Request
from websockets.server import ServerProtocol

from vfctl.errors import ProtocolError
from vfctl.loadtest.generator.dialer import MAX_RESPONSE_BYTES, check_response, new_key, request
from vfctl.protocol.websocket import accept_key

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def response(
    status: str = "101 Switching Protocols", accept: str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", more: str = ""
) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    ).encode()


def test_another_library_accepts_our_request_and_we_its_response() -> None:
    key = new_key()
    assert len(base64.b64decode(key)) == 16
    protocol = ServerProtocol()
    protocol.receive_data(request("127.0.0.1:8765", "/ws?timed=1", key))
    (asked,) = protocol.events_received()
    assert isinstance(asked, Request)
    assert asked.path == "/ws?timed=1"
    answer = protocol.accept(asked)
    assert answer.status_code == 101
    assert check_response(answer.serialize(), key) == len(answer.serialize())


def test_the_example_of_rfc_6455() -> None:
    assert accept_key(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert check_response(response() + b"\x82\x00", KEY) == len(response())


def test_a_response_is_waited_for_to_its_end() -> None:
    whole = response()
    assert all(check_response(whole[:length], KEY) is None for length in range(len(whole)))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (response(status="503 Service Unavailable"), "HTTP 503 Service Unavailable"),
        (response(accept="AAAA"), "Sec-WebSocket-Accept"),
        (response(more="Sec-WebSocket-Extensions: permessage-deflate\r\n"), "extension"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not an HTTP response"),
        (b"x" * (MAX_RESPONSE_BYTES + 1), "without an end"),
    ],
)
def test_other_answers_are_refused(answer: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        check_response(answer, KEY)


def refusal(body: str, kind: str = "text/plain; charset=utf-8") -> bytes:
    return f"HTTP/1.1 400 Bad Request\r\nContent-Type: {kind}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refusal("encoding=raw is not served\nmore\n"), "answered HTTP 400 Bad Request, encoding=raw is not served"),
        (refusal("x" * 1000), "answered HTTP 400 Bad Request, " + "x" * 200),
        (refusal("\x1b[31mred\n", "Text/Plain"), "answered HTTP 400 Bad Request, [31mred"),
        (refusal(""), "answered HTTP 400 Bad Request"),
        (refusal("<h1>Bad</h1>", "text/html"), "answered HTTP 400 Bad Request"),
        (refusal("bad", "text/plainer"), "answered HTTP 400 Bad Request"),
    ],
)
def test_a_refusal_says_why_as_the_server_does(answer: bytes, reason: str) -> None:
    """It is the only place where a server says that it forbids an encoding."""
    with pytest.raises(ProtocolError) as caught:
        check_response(answer, KEY)
    assert caught.value.reason == reason


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_an_error(data: bytes) -> None:
    try:
        length = check_response(data + b"\r\n\r\n", KEY)
    except ProtocolError:
        return
    assert length is not None
