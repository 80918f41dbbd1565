"""The client library against a real server on a real socket; only the waiting is not real."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest
from aiohttp import WSMsgType

from vfctl.client import connect
from vfctl.client.lifecycle import State
from vfctl.errors import PeerError, ProtocolError, UsageError
from vfctl.protocol import EVERYTHING, Filter, FilterUpdate, Heartbeat, NodeDrag, NodeSelect, encode


async def collect(connection) -> list:
    return [message async for message in connection]


@pytest.fixture(autouse=True)
async def nothing_is_left_behind():
    yield
    gc.collect()  # an unclosed session or socket would warn here, and warnings are errors
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [task for task in others if "send_heartbeats" in repr(task)]


async def test_messages_arrive_decoded_and_a_clean_close_ends(server, acts, clock):
    server.play(acts.say(acts.graph, acts.update))
    states = []
    async with connect(
        server.url, encoding="raw", timed=True, clock=clock, on_change=lambda state, _: states.append(state)
    ) as connection:
        assert connection.state is State.CONNECTED
        assert await collect(connection) == [acts.graph, acts.update]
        assert connection.state is State.DISCONNECTED
        assert connection.last_arrival_ns == clock.unix_ns()
    assert server.queries == ["encoding=raw&timed=1"]
    assert states == [State.CONNECTING, State.CONNECTED, State.DISCONNECTED]
    assert clock.slept == []


async def test_payloads_come_exactly_as_received(server, acts, clock):
    server.play(acts.say(acts.graph, acts.update))
    async with connect(server.url, clock=clock) as connection:
        payloads = [item async for item in connection.payloads()]
    assert payloads == [(encode(message), clock.unix_ns()) for message in (acts.graph, acts.update)]


async def test_nothing_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(PeerError, match=f"ws://127.0.0.1:{port}/ws: nothing listens at 127.0.0.1:{port}") as caught:
            async with connect(f"ws://user:secret@127.0.0.1:{port}/ws"):
                pass
    assert caught.value.exit_code == 4
    assert "vfctl serve" in caught.value.hint
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            (400, "encoding='zip' is unknown;\n the encodings are raw, lz4\x1b[2J"),
            r"HTTP 400, encoding='zip' is .* raw,",
        ),
        ((404, "<html>no</html>", "text/html"), "HTTP 404, Not Found"),
        ((503, "50,000 clients are connected, no more fit"), "HTTP 503, 50,000 clients"),
        ((200, "hello"), "HTTP 200, hello: it is no WebSocket"),
        ((400, "long " * 10_000), "HTTP 400, long"),
    ],
)
async def test_a_refusal_says_what_the_server_said(server, acts, clock, answer, says):
    server.play(acts.answer(*answer))
    with pytest.raises(PeerError, match=says) as caught:
        async with connect(server.url, clock=clock):
            pass
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700
    assert server.connections == 1  # a first connect is not retried
    assert clock.slept == []


async def test_a_peer_that_does_not_answer_times_out():
    async def silence(reader, writer):
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silence, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(PeerError, match=r"did not answer within 0\.05 s"):
            async with connect(f"ws://127.0.0.1:{port}/ws", open_timeout_s=0.05):
                pass


async def test_a_peer_of_another_protocol():
    async def greet(reader, writer):
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(PeerError, match=r"does not speak HTTP|during the handshake"):
            async with connect(f"ws://127.0.0.1:{port}/ws"):
                pass


async def test_a_restart_is_survived_and_the_filter_sent_again(server, acts, clock):
    heard = []

    def listen(then_close):
        async def act(visit):
            await visit.accept(acts.graph, acts.update)
            heard.append(await visit.receive())
            await visit.socket.close(code=then_close)
            return visit.socket

        return act

    wanted = Filter(kinds=frozenset({"class"}))
    server.play(listen(1012), listen(1001), listen(1000))
    async with connect(server.url, filter=wanted, clock=clock) as connection:
        messages = await collect(connection)
        assert connection.reconnects == 2
    assert heard == [FilterUpdate(wanted)] * 3
    assert messages == [acts.graph, acts.update] * 3
    assert clock.slept == [0.5, 0.5]


async def test_a_filter_set_later_replaces_the_first(server, acts, clock):
    heard = []
    after_reconnect = asyncio.Queue()

    async def first(visit):
        await visit.accept(acts.graph, acts.update)
        heard.extend([await visit.receive(), await visit.receive()])
        return await visit.drop()

    async def second(visit):
        await visit.accept(acts.graph)
        after_reconnect.put_nowait((await visit.socket.receive()).type)
        return visit.socket

    server.play(first, second)
    async with connect(server.url, filter=Filter(search="a"), clock=clock) as connection:
        await connection.set_filter(EVERYTHING)
        assert [await anext(connection) for _ in range(3)] == [acts.graph, acts.update, acts.graph]
    assert heard == [FilterUpdate(Filter(search="a")), FilterUpdate(EVERYTHING)]
    # Every connection starts with everything, so there was nothing to say but goodbye.
    assert await after_reconnect.get() is WSMsgType.CLOSE


async def test_accept_then_drop_ends_after_five_retries(server, acts, clock):
    server.play(acts.say(acts.graph, close=None))
    async with connect(server.url, clock=clock) as connection:
        with pytest.raises(PeerError, match="gave up after 5 retries in a row; the last: lost without a close frame"):
            await collect(connection)
    assert server.connections == 6
    assert clock.slept == [0.5, 1.0, 2.0, 4.0, 8.0]


async def test_a_server_that_stays_away_ends_after_five_retries(server, acts, clock):
    server.play(acts.say(acts.graph, acts.update, close=1012), acts.answer(503, "starting"))
    async with connect(server.url, clock=clock) as connection:
        with pytest.raises(PeerError, match="gave up after 5 retries in a row; the last: answered HTTP 503, starting"):
            await collect(connection)
        with pytest.raises(PeerError, match="disconnected"):
            await connection.select(1)
    assert server.connections == 6


async def test_a_fatal_close_is_not_retried(server, acts, clock):
    server.play(acts.say(acts.graph, close=1003, reason=b"binary only"))
    async with connect(server.url, clock=clock) as connection:
        with pytest.raises(PeerError, match=r"closed by the server with 1003 \(binary only\)"):
            await collect(connection)
    assert server.connections == 1


async def test_a_bare_end_of_stream_is_not_a_clean_close(server, acts, clock):
    async def hang_up(visit):
        socket = await visit.accept(acts.graph)
        visit.request.transport.close()  # FIN, no close frame
        return socket

    server.play(hang_up, acts.say())
    async with connect(server.url, clock=clock) as connection:
        await collect(connection)
        assert connection.reconnects == 1


@pytest.mark.parametrize("payloads", [False, True])
@pytest.mark.parametrize(
    ("garbage", "says", "code"),
    [
        (b"\x03\x02\x00\x00\x00\x00\x00\x00", "version 3, expected 4", 1002),
        (b"\x04", "ends here", 1002),
        (b"", "ends here", 1002),
        (b"\x04\x03\x00\x00\x01\x00\x00\x00\x00", "1 bytes too many", 1002),
        ("text", "text frame", 1002),
    ],
)
async def test_a_frame_that_is_no_v4_ends_with_1002(server, acts, clock, garbage, says, code, payloads):
    codes = asyncio.Queue()

    async def act(visit):
        await visit.accept(acts.graph)
        await (visit.socket.send_str if isinstance(garbage, str) else visit.socket.send_bytes)(garbage)
        codes.put_nowait(await visit.gone())
        return visit.socket

    server.play(act)
    async with connect(server.url, clock=clock) as connection:
        with pytest.raises(ProtocolError, match=says):
            _ = [item async for item in (connection.payloads() if payloads else connection)]
        assert connection.state is State.DISCONNECTED
    assert await codes.get() == code
    assert server.connections == 1


async def test_an_undecodable_body_ends_with_1002(server, acts, clock):
    codes = asyncio.Queue()

    async def act(visit):
        await visit.accept()
        await visit.socket.send_bytes(b"\x04\x08\x00\x00\x02\x00\x00\x00{]")
        codes.put_nowait(await visit.gone())
        return visit.socket

    server.play(act)
    async with connect(server.url, clock=clock) as connection:
        with pytest.raises(ProtocolError, match="not JSON"):
            await anext(connection)
    assert await codes.get() == 1002


async def test_frames_that_break_rfc_6455_are_a_protocol_error(server, acts, clock):
    async def act(visit):
        await visit.accept()
        visit.request.transport.write(b"\xf2\x00")  # reserved bits
        await visit.gone()
        return visit.socket

    server.play(act)
    async with connect(server.url, clock=clock) as connection:
        with pytest.raises(ProtocolError, match="not a WebSocket frame"):
            await anext(connection)


async def test_a_server_heartbeat_is_answered_with_our_time(server, acts, clock):
    replies = []

    async def act(visit):
        await visit.accept(Heartbeat(77))
        replies.append(await visit.receive())
        await visit.socket.close()
        return visit.socket

    server.play(act)
    async with connect(server.url, clock=clock) as connection:
        assert await collect(connection) == [Heartbeat(77)]
    assert replies == [Heartbeat(77, clock.now_us)]


async def test_a_heartbeat_is_sent_every_interval_and_measures(server, acts, clock):
    async def act(visit):
        await visit.accept(acts.graph)
        asked = await visit.receive()
        assert asked == Heartbeat(clock.now_us)
        clock.now_us += 3_000
        await visit.socket.send_bytes(encode(Heartbeat(asked.timestamp_us, asked.timestamp_us + 501_500)))
        await visit.socket.send_bytes(encode(Heartbeat(1, 2)))  # a reply to nothing
        await visit.socket.close()
        return visit.socket

    server.play(act)
    async with connect(server.url, clock=clock) as connection:
        assert connection.round_trip is None
        await anext(connection)
        clock.beat()
        await collect(connection)
        assert connection.round_trip.round_trip_us == 3_000
        assert connection.round_trip.offset_us == 500_000


async def test_a_peer_that_answers_no_heartbeat_is_dead(server, acts, clock):
    asked = asyncio.Queue()

    async def mute(visit):
        await visit.accept(acts.graph)
        asked.put_nowait(await visit.receive())
        await visit.gone()
        return visit.socket

    server.play(mute, acts.say(acts.update))
    async with connect(server.url, clock=clock) as connection:
        await anext(connection)
        clock.beat()
        rest = asyncio.create_task(collect(connection))
        assert await asked.get() == Heartbeat(clock.now_us)
        clock.beat()
        assert await rest == [acts.update]
        assert connection.reconnects == 1


async def test_select_and_drag(server, acts, clock):
    heard = []

    async def act(visit):
        await visit.accept(acts.graph)
        heard.extend([await visit.receive() for _ in range(3)])
        await visit.socket.close()
        return visit.socket

    server.play(act)
    async with connect(server.url, clock=clock) as connection:
        await connection.select(None)
        await connection.drag(7, 1.0, 2.0, 3.0)
        await connection.drag(7, 1.0, 2.0, 3.0, final=True)
        await collect(connection)
    assert heard == [NodeSelect(None), NodeDrag(7, 1.0, 2.0, 3.0), NodeDrag(7, 1.0, 2.0, 3.0, True)]


async def test_leaving_says_goodbye(server, acts, clock):
    codes = asyncio.Queue()

    async def act(visit):
        await visit.accept(acts.graph)
        codes.put_nowait(await visit.gone())
        return visit.socket

    server.play(act)
    async with connect(server.url, clock=clock) as connection:
        await anext(connection)
    assert await codes.get() == 1000
    assert connection.state is State.DISCONNECTED


async def test_close_from_elsewhere_ends_the_iteration(server, acts, clock):
    server.play(acts.stay(acts.graph))
    async with connect(server.url, clock=clock) as connection:
        await anext(connection)
        rest = asyncio.create_task(collect(connection))
        await asyncio.sleep(0)
        await connection.close()
        assert await rest == []


async def test_a_cancelled_read_loses_nothing(server, acts, clock):
    go = asyncio.Event()

    async def act(visit):
        await visit.accept(acts.graph)
        await go.wait()
        await visit.accept(acts.update)
        await visit.socket.close()
        return visit.socket

    server.play(act)
    async with connect(server.url, clock=clock) as connection:
        assert await anext(connection) == acts.graph
        waiting = asyncio.create_task(anext(connection))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go.set()
        assert await collect(connection) == [acts.update]


async def test_a_cancelled_backoff_goes_on_where_it_was(server, acts, clock):
    server.play(acts.say(acts.graph, acts.update, close=1012), acts.say(acts.graph))
    async with connect(server.url, clock=clock) as connection:
        await anext(connection)
        await anext(connection)
        for steps in range(1, 200):  # cancelled at every point where it may wait
            task = asyncio.create_task(anext(connection))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                break
        assert task.result() == acts.graph
        assert connection.reconnects == 1


async def test_a_cancelled_connect_leaves_nothing():
    async def silence(reader, writer):
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silence, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        connection = connect(f"ws://127.0.0.1:{port}/ws")
        opening = asyncio.create_task(connection.__aenter__())
        await asyncio.sleep(0.01)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert connection.state is State.DISCONNECTED


def test_nonsense_is_refused_before_anything_is_opened():
    with pytest.raises(UsageError):
        connect("nonsense")


async def test_a_client_that_does_not_read_does_not_take_the_server_for_dead(server, acts, clock):
    asked = asyncio.Queue()

    async def patient(visit):
        await visit.accept(acts.graph)
        for _ in range(3):
            asked.put_nowait(await visit.receive())
        await visit.socket.close()
        return visit.socket

    server.play(patient)
    async with connect(server.url, clock=clock) as connection:
        await anext(connection)
        for _ in range(3):  # the user is busy with that one message
            clock.beat()
            assert await asked.get() == Heartbeat(clock.now_us)
        assert await collect(connection) == []
        assert connection.reconnects == 0
