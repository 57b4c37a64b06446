"""What is used reaches the queue: exactly, once, and without waiting for it."""

import json
import threading

import pytest
from lisa.usage.message import Counters
from lisa_gateway import usage as module
from lisa_gateway.usage import MAX_SUMS, SqsQueue, UsageRecorder

from tests.unit.gateway.harness import (
    BOB,
    DONE,
    USAGE,
    MemoryQueue,
    chat_answer,
    chunk,
    document,
    events,
    wait_for,
)
from tests.unit.gateway.test_leaving import endless, never

RESPONSES_EVENTS = (
    b'event: response.created\ndata: {"type":"response.created","response":{"usage":null}}\n\n',
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"a"}\n\n',
    b'event: response.completed\ndata: {"type":"response.completed","response":{"output":[],'
    b'"usage":{"input_tokens":11,"output_tokens":4,"total_tokens":15}}}\n\n',
)
ANTHROPIC_EVENTS = (
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":9,'
    b'"cache_read_input_tokens":100,"cache_creation_input_tokens":20,"output_tokens":1}}}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}\n\n',
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":6}}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
)
CHAT_EVENTS = (chunk({"role": "assistant", "content": ""}), chunk({"content": "a"}), chunk({}, "stop"))


@pytest.fixture
def used(gateway):
    """What one user's models were used for since the test began, by model."""
    gateway.application.usage.flush()
    gateway.queue.messages.clear()

    def read(of="alice", requests=1):
        def handed_over():
            gateway.application.usage.flush()
            found: dict[str, Counters] = {}
            for message in gateway.queue.messages:
                for entry in message.entries:
                    if entry.of == (of or None) and entry.by == "model":
                        found.setdefault(entry.value, Counters()).add(entry.counters)
            return found if sum(each.requests for each in found.values()) >= requests else None

        return wait_for(handed_over)

    return read


def tokens(counters):
    return counters.prompt_tokens, counters.completion_tokens


@pytest.mark.parametrize(
    ("path", "body", "reply", "expected"),
    [
        ("chat/completions", {}, document(chat_answer()), (7, 3)),
        ("chat/completions", {"stream": True}, events(*CHAT_EVENTS, USAGE, DONE), (7, 3)),
        (
            "chat/completions",
            {"stream": True, "stream_options": {"include_usage": True}},
            events(*CHAT_EVENTS, USAGE, DONE),
            (7, 3),
        ),
        ("completions", {"prompt": "a"}, document(chat_answer()), (7, 3)),
        ("completions", {"prompt": "a", "stream": True}, events(USAGE, DONE), (7, 3)),
        (
            "responses",
            {"input": "a"},
            document({"output": [], "usage": {"input_tokens": 11, "output_tokens": 4}}),
            (11, 4),
        ),
        ("responses", {"input": "a", "stream": True}, events(*RESPONSES_EVENTS), (11, 4)),
        (
            "messages",
            {"max_tokens": 5},
            document(
                {
                    "content": [],
                    "usage": {"input_tokens": 9, "cache_read_input_tokens": 100, "output_tokens": 6},
                }
            ),
            (109, 6),
        ),
        ("messages", {"max_tokens": 5, "stream": True}, events(*ANTHROPIC_EVENTS), (129, 6)),
    ],
)
@pytest.mark.parametrize("prefix", ["/v1/", "/v2/serve/"])
def test_tokens_are_those_that_the_model_told(gateway, used, prefix, path, body, reply, expected):
    # Given
    gateway.upstream.reply = reply
    fields = (
        {"messages": [{"role": "user", "content": "a"}]}
        if path.endswith(("chat/completions", "messages"))
        else {}
    )

    # When
    answer = gateway.request("POST", prefix + path, body={"model": "m", **fields, **body})

    # Then
    assert answer.status == 200
    counters = used()["m"]
    assert tokens(counters) == expected
    assert (counters.requests, counters.succeeded, counters.estimated) == (1, 1, 0)
    assert counters.streams == (1 if body.get("stream") else 0)


def test_embeddings_have_prompt_tokens_alone(gateway, used):
    gateway.upstream.reply = document({"data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}})
    assert gateway.request("POST", "/v1/embeddings", body={"model": "e", "input": "a"}).status == 200
    assert tokens(used()["e"]) == (5, 0)


def test_what_is_refused_or_fails_is_counted_and_has_no_tokens(gateway, used):
    # When
    assert gateway.chat(model="nobody-has-this").status == 404
    assert gateway.chat(model="secret").status == 404
    assert gateway.chat(messages="hello").status == 400
    gateway.upstream.reply = document({"error": {"message": "slow down"}}, 429)
    assert gateway.chat().status == 429
    gateway.upstream.reply = document({"error": {"message": "broken"}}, 500)
    assert gateway.chat().status >= 500
    assert gateway.chat(model="gone").status == 503

    # Then names that do not exist are not kept, nor those of models that others may use
    found = used(requests=6)
    assert set(found) == {"", "m", "gone"}
    assert (found[""].requests, found[""].refused) == (2, 2)
    assert (found["m"].requests, found["m"].refused, found["m"].failed) == (3, 2, 1)
    assert (found["gone"].requests, found["gone"].failed) == (1, 1)
    assert {tokens(each) for each in found.values()} == {(0, 0)}


def test_nobody_is_counted_without_a_name(gateway, used):
    assert gateway.chat(token=None).status == 401
    assert gateway.chat(token="rubbish").status == 401
    found = used(of=None, requests=2)
    assert (found[""].requests, found[""].refused) == (2, 2)
    (entry,) = [e for m in gateway.queue.messages for e in m.entries if e.by == "user"]
    assert (entry.of, entry.value, entry.requests) == (None, "", 2)


def test_lists_health_lengths_of_prompts_and_unknown_paths_are_no_use(gateway, used):
    for path in ("/v1/models", "/health", "/v1/nothing", "/v1/chat/completions"):
        gateway.request("GET", path)
    gateway.request("POST", "/v1/messages/count_tokens", body={"model": "m", "messages": []})
    gateway.chat()
    assert used()["m"].requests == 1
    assert sum(e.requests for m in gateway.queue.messages for e in m.entries if e.by == "user") == 1


def test_each_group_is_given_the_whole_and_each_user_their_own(gateway, used):
    gateway.chat()
    gateway.chat(token=BOB)
    used(of=None, requests=2)
    found = {(e.of, e.by, e.value): e for m in gateway.queue.messages for e in m.entries}
    assert {key: entry.requests for key, entry in found.items()} == {
        (None, "user", "alice"): 1,
        (None, "user", "bob"): 1,
        (None, "model", "m"): 2,
        (None, "group", "user"): 2,
        (None, "group", "team-a"): 1,
        (None, "group", "team-b"): 1,
        ("alice", "model", "m"): 1,
        ("bob", "model", "m"): 1,
    }
    assert found[None, "user", "alice"].groups == ("team-a", "user")
    assert len(found[None, "model", "m"].latencies) == 2


def test_a_stream_whose_caller_leaves_is_estimated_by_what_it_was_sent(gateway, used):
    # Given a stream without end, of which some has been read
    gateway.upstream.reply = endless
    sock = gateway.open(stream=True)
    received = b""
    while received.count(b'"content":"x"') < 5:
        received += sock.recv(4096)

    # When
    sock.close()

    # Then
    counters = used()["m"]
    assert (counters.left, counters.estimated) == (1, 1)
    assert counters.prompt_tokens == 2  # hello, at four characters a token
    assert counters.completion_tokens >= 4
    assert gateway.lines()[-1]["status"] == 499


def test_a_caller_who_leaves_before_the_answer_has_used_the_prompt(gateway, used):
    gateway.upstream.reply = never
    sock = gateway.open(messages=[{"role": "user", "content": "x" * 4000}])
    wait_for(lambda: gateway.upstream.asked)
    sock.close()
    counters = used()["m"]
    assert (counters.left, counters.estimated, *tokens(counters)) == (1, 1, 1000, 0)


def test_of_messages_the_prompt_is_known_though_the_caller_leaves(gateway, used):
    async def reply(asked, writer):
        await events(*ANTHROPIC_EVENTS[:2])(asked, _NoEnd(writer))
        await never(asked, writer)

    gateway.upstream.reply = reply
    sock = gateway.open("/v1/messages", stream=True, max_tokens=5)
    received = b""
    while b"text_delta" not in received:
        received += sock.recv(4096)
    sock.close()
    counters = used()["m"]
    assert (counters.left, counters.estimated, *tokens(counters)) == (1, 1, 129, 1)


class _NoEnd:
    """A writer that keeps the last chunk back."""

    def __init__(self, writer):
        self._writer = writer

    def write(self, data):
        if data != b"0\r\n\r\n":
            self._writer.write(data)

    def __getattr__(self, name):
        return getattr(self._writer, name)


# The recorder by itself


def record(user="alice", model="m", status=200, groups=("g",), token_id="", usage=(7, 3), **changes):
    from time import perf_counter

    from lisa.identity import Principal

    fields = {"seconds": 0.1, "first": 0.0, "cost": 0, "estimated": False, **changes}
    who = Principal(user, frozenset(groups), False, 0.0, token_id=token_id)
    return (
        perf_counter(), who, model, status, fields["seconds"], fields["first"], usage, fields["cost"],
        fields["estimated"],
    )  # fmt: skip


class Flaky:
    """A queue that takes what it is sent `taken` times out of so many, and loses its answer otherwise."""

    def __init__(self):
        self.sent = []
        self.down = False
        self.lose_answer = False
        self.only = None

    def send(self, messages):
        if self.down:
            raise ConnectionError("no queue")
        self.sent += messages[: self.only]
        if self.lose_answer:
            self.lose_answer = False
            raise TimeoutError("no answer")
        return {message.id for message in messages[: self.only]}

    def requests(self):
        """How many requests, once each message is counted once."""
        once = {message.id: message for message in self.sent}
        return sum(e.requests for m in once.values() for e in m.entries if e.of is None and e.by == "model")


def test_what_is_sent_again_after_a_lost_answer_has_the_same_id():
    queue = Flaky()
    recorder = UsageRecorder(lambda: queue)
    recorder.add(record())
    queue.lose_answer = True
    assert not recorder.flush()
    recorder.add(record())
    assert recorder.flush()
    first, again, second = queue.sent
    assert first == again
    assert second.id != first.id
    assert queue.requests() == 2


def test_what_an_api_token_uses_is_its_own_and_its_users():
    queue = Flaky()
    recorder = UsageRecorder(lambda: queue)
    recorder.add(record(token_id="t1"))
    recorder.add(record())
    assert recorder.flush()
    found = {(e.of, e.by, e.value): e.requests for m in queue.sent for e in m.entries}
    assert found[None, "token", "t1"] == found["alice", "token", "t1"] == 1
    assert found[None, "user", "alice"] == found["alice", "model", "m"] == 2


def test_of_a_batch_only_what_was_not_taken_is_sent_again():
    queue = Flaky()
    recorder = UsageRecorder(lambda: queue)
    for number in range(200):
        recorder.add(record(user=f"u{number}"))
    queue.only = 2
    assert not recorder.flush()
    queue.only = None
    assert recorder.flush()
    assert len({message.id for message in queue.sent}) == len(queue.sent) > 3
    assert queue.requests() == 200


def test_while_the_queue_is_away_sums_grow_and_not_lists():
    # Given
    queue = Flaky()
    recorder = UsageRecorder(lambda: queue)
    queue.down = True
    for _ in range(20):
        for _ in range(100):
            recorder.add(record(cost=2))
        assert not recorder.flush()
    assert recorder.waiting < 20

    # When
    queue.down = False
    assert recorder.flush()

    # Then
    assert queue.requests() == 2000
    assert sum(e.cost for m in queue.sent for e in m.entries if e.by == "model" and e.of is None) == 4000
    assert (recorder.waiting, recorder.lost) == (0, 0)


def test_a_queue_that_cannot_be_opened_is_opened_later():
    queue, tries = Flaky(), []

    def open_queue():
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("no credentials yet")
        return queue

    recorder = UsageRecorder(open_queue)
    recorder.add(record())
    assert not recorder.flush()
    assert recorder.flush()
    assert queue.requests() == 1


def test_what_is_too_much_is_counted_and_said(caplog):
    queue = Flaky()
    queue.down = True
    recorder = UsageRecorder(lambda: queue)
    recorder.add(record())
    recorder.flush()  # seals what is under way
    for number in range(MAX_SUMS + 5):
        recorder.add(record(user=f"u{number}"))
    recorder.flush()
    assert recorder.lost == 5
    assert any(each.message == "usage lost" and each.requests == 5 for each in caplog.records)
    queue.down = False
    recorder.flush()
    assert queue.requests() == MAX_SUMS + 1


def test_more_requests_than_can_wait_are_counted_as_lost(monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    recorder = UsageRecorder(MemoryQueue)
    for _ in range(12):
        recorder.add(record())
    assert recorder.flush()
    assert recorder.lost == 2


def test_at_the_end_what_is_left_is_handed_over():
    queue = Flaky()
    recorder = UsageRecorder(lambda: queue, flush_seconds=600)
    recorder.start()
    recorder.add(record())
    recorder.close()
    assert queue.requests() == 1


def test_without_anybody_asking_it_is_handed_over_within_a_second():
    queue = Flaky()
    arrived = threading.Event()
    send = queue.send
    queue.send = lambda messages: (send(messages), arrived.set())[0]
    recorder = UsageRecorder(lambda: queue)
    recorder.start()
    try:
        recorder.add(record())
        assert arrived.wait(5)
        assert module.FLUSH_SECONDS < 1
    finally:
        recorder.close()


def test_a_message_fits_one_transaction_and_a_call_fits_the_queue():
    queue = MemoryQueue()
    batches = []
    queue.send = lambda messages: (batches.append(messages), {m.id for m in messages})[1]
    recorder = UsageRecorder(lambda: queue)
    for number in range(300):
        groups = [f"{number}-{each}-" + "g" * 200 for each in range(60)]
        recorder.add(record(user=f"u{number}" + "ü" * 100, groups=groups, token_id=f"t{number}"))
    assert recorder.flush()
    for batch in batches:
        assert len(batch) <= 10
        assert sum(len(message.encode().encode()) for message in batch) <= 256 * 1024
        for message in batch:
            assert sum(entry.rows for entry in message.entries) <= 99


def test_the_queue_client_sends_ids_and_says_what_was_taken():
    calls = []

    class Client:
        """SQS, for one call: it takes the first of two."""

        def send_message_batch(self, QueueUrl, Entries):
            calls.append((QueueUrl, Entries))
            return {"Successful": [{"Id": Entries[0]["Id"]}], "Failed": [{"Id": Entries[1]["Id"]}]}

    source = MemoryQueue()
    recorder = UsageRecorder(lambda: source)
    for number in range(60):
        recorder.add(record(user=f"u{number}"))
    recorder.flush()
    first, second = source.messages[:2]
    assert SqsQueue("https://q", Client()).send([first, second]) == {first.id}
    ((url, entries),) = calls
    assert url == "https://q"
    assert json.loads(entries[0]["MessageBody"])["id"] == entries[0]["Id"] == first.id
