"""A caller that leaves cancels the work that is done for it, and slow readers slow the engine down."""

import asyncio
import json
import socket
import struct
import time

import pytest

from tests.unit.gateway.harness import chat_answer, chunk, events, wait_for


def never(asked, writer):
    return asyncio.sleep(60)


async def endless(asked, writer):
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        piece = chunk({"content": "x"})
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
        await asyncio.sleep(0.01)


async def flood(asked, writer):
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    piece = chunk({"content": "x" * 10_000})
    while True:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
        flood.sent += len(piece)


@pytest.mark.parametrize(("reply", "stream"), [(never, False), (never, True), (endless, True)])
@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_the_call_upstream_is_cancelled_within_a_second(gateway, reply, stream, how):
    # Given a request that is being answered
    gateway.upstream.reply = reply
    sock = gateway.open(stream=stream)
    wait_for(lambda: gateway.upstream.asked)
    if reply is endless:
        sock.recv(1000)
    # When the client leaves
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == "half":
        sock.shutdown(socket.SHUT_WR)
    else:
        sock.close()
    # Then the engine sees it
    assert gateway.upstream.left.wait(1)
    sock.close()
    # and the log says so
    wait_for(lambda: gateway.lines()[-1]["status"] == 499)


def test_leaving_does_not_harm_others(gateway):
    gateway.upstream.replies = [endless]
    gone = gateway.open(stream=True)
    gone.recv(1000)
    gone.close()
    assert gateway.upstream.left.wait(1)
    assert gateway.chat().json == chat_answer()


def test_a_slow_reader_slows_the_engine_and_not_the_gateways_memory(gateway):
    # Given an engine that writes as fast as it may, and a client that does not read
    flood.sent = 0
    gateway.upstream.reply = flood
    with gateway.open(stream=True) as sock:
        # Then what has been sent stops growing, at what the buffers of the sockets hold
        last = -1
        deadline = time.monotonic() + 10
        while flood.sent != last and time.monotonic() < deadline:
            last = flood.sent
            time.sleep(0.2)
        assert flood.sent == last
        # When it reads, Then it goes on
        for _ in range(200):
            sock.recv(1 << 20)
        wait_for(lambda: flood.sent > last)
    assert gateway.upstream.left.wait(2)


def test_nothing_is_left_over_after_many_have_left(gateway):
    gateway.upstream.reply = never
    socks = [gateway.open() for _ in range(20)]
    wait_for(lambda: len(gateway.upstream.asked) == 20)
    for sock in socks:
        sock.close()
    wait_for(lambda: gateway.application.metrics.in_flight == 0)
    wait_for(lambda: not gateway.application.server.connections)
    assert json.dumps(gateway.lines()[-1])


def test_a_stream_that_ends_while_the_client_stays_is_complete(gateway):
    gateway.upstream.reply = events(chunk({"content": "a"}), chunk({}, "stop"), b"data: [DONE]\n\n", gap=0.01)
    assert gateway.chat(stream=True).body.endswith(b"data: [DONE]\n\n")
