"""The filter on event streams, whatever the pieces are that they arrive in."""

import json
import random

import pytest
from lisa_gateway.sse import MAX_EVENT_BYTES, EventFilter, find_usage

from tests.unit.gateway.harness import DONE, USAGE, chunk

EVENTS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": 'say "usage" and \n\n'}),
    chunk({}, "stop"),
]
LITELLM_USAGE = (
    b'data: {"id":"c","choices":[{"index":0,"delta":{}}],'
    b'"usage":{"completion_tokens":3,"prompt_tokens":7}}\n\n'
)


def run(pieces, **options):
    out = []
    events = EventFilter(out.append, **options)
    for piece in pieces:
        events.feed(piece)
    events.finish()
    return b"".join(out), events.usage


@pytest.mark.parametrize("usage", [USAGE, LITELLM_USAGE, USAGE.replace(b'"choices":[]', b'"choices" : [ ]')])
def test_the_result_does_not_depend_on_how_the_stream_is_cut(usage):
    whole = b"".join([*EVENTS, usage, DONE])
    kept = b"".join([*EVENTS, DONE])
    rng = random.Random(1)
    for _ in range(200):
        cuts = sorted(rng.sample(range(len(whole)), rng.randint(0, 12)))
        pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        assert run(pieces, drop_usage=True) == (kept, (7, 3))
        assert run(pieces, drop_usage=False) == (whole, (7, 3))


def test_whole_events_are_passed_on_as_they_are_and_at_once():
    out = []
    events = EventFilter(out.append, drop_usage=True)
    events.feed(EVENTS[0])
    assert out == [EVENTS[0]]
    assert out[0] is EVENTS[0]


def test_events_may_end_in_crlf():
    crlf = USAGE.replace(b"\n\n", b"\r\n\r\n")
    assert run([EVENTS[0], crlf, DONE], drop_usage=True) == (EVENTS[0] + DONE, (7, 3))


def test_usage_on_the_closing_event_stays_there():
    closing = EVENTS[-1].replace(b"}]}", b'}],"usage":{"prompt_tokens":7,"completion_tokens":3}}')
    assert run([closing, DONE], drop_usage=True) == (closing + DONE, (7, 3))


def test_usage_of_null_is_no_usage():
    event = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}],"usage":null}\n\n'
    assert run([event], drop_usage=True) == (event, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"content":null}', "{}"),
        ('{"role":"assistant","content":null}', '{"role":"assistant"}'),
        ('{"content": null, "role":"assistant"}', '{"role":"assistant"}'),
    ],
)
def test_a_closing_event_has_no_null_content(before, after):
    def event(delta):
        return f'data: {{"choices":[{{"index":0,"delta":{delta},"finish_reason":"stop"}}]}}\n\n'.encode()

    got, _ = run([event(before)], drop_usage=False)
    assert got == event(after)
    json.loads(got[6:])


def test_null_content_before_the_end_is_left_alone():
    event = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}\n\n'
    assert run([event], drop_usage=False)[0] == event


def test_what_a_model_writes_is_not_taken_for_usage():
    text = '"usage": {"prompt_tokens": 999, "completion_tokens": 999}, "choices":[]'
    event = chunk({"content": text})
    assert run([event, DONE], drop_usage=True) == (event + DONE, None)
    assert find_usage(json.dumps({"choices": [{"text": text}], "usage": {"prompt_tokens": 1}}).encode()) == (
        1,
        0,
    )


def test_an_event_without_an_end_does_not_fill_the_memory():
    out = []
    events = EventFilter(out.append, drop_usage=True)
    for _ in range(MAX_EVENT_BYTES // 100_000 + 2):
        events.feed(b"x" * 100_000)
    assert out
    assert len(events._rest) <= MAX_EVENT_BYTES


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"usage":{"prompt_tokens":5,"completion_tokens":6}}', (5, 6)),
        (
            b'{"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":1},"output_tokens":6}}',
            (5, 6),
        ),
        (b'{"usage":{"prompt_tokens":5,"total_tokens":5}}', (5, 0)),
        (b'{"usage":null}', None),
        (b'{"choices":[]}', None),
        (b"", None),
    ],
)
def test_usage_is_found_in_every_dialect(body, expected):
    assert find_usage(body) == expected


def test_a_prompt_is_counted_whole_whether_or_not_a_part_of_it_was_cached():
    anthropic = (
        b'"usage":{"cache_read_input_tokens":26,"cache_creation_input_tokens":5,'
        b'"input_tokens":11,"output_tokens":1}'
    )
    assert find_usage(anthropic) == (42, 1)
    openai = b'"usage":{"prompt_tokens":37,"completion_tokens":2,"cache_read_input_tokens":26}'
    assert find_usage(openai) == (37, 2)
