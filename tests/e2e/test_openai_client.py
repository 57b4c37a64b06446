"""What a user of OpenAI's client sees."""

import math

import openai
import pytest

pytestmark = pytest.mark.cloud

CHAT, EMBED = "smollm2-135m", "all-minilm-l6-v2"
HELLO = [{"role": "user", "content": "Say hello"}]


def test_models_are_listed_and_found(client):
    listed = {model.id: model for model in client.models.list()}
    assert {CHAT, EMBED} <= set(listed)
    assert client.models.retrieve(CHAT).id == CHAT
    assert listed[CHAT].object == "model"
    assert listed[CHAT].created > 0


def test_chat_answers(client):
    answer = client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=24, temperature=0)
    assert answer.model == CHAT
    assert answer.choices[0].message.content.strip()
    assert answer.choices[0].finish_reason in {"stop", "length"}
    assert answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_chat_streams_word_by_word_without_usage_unless_asked(client):
    chunks = list(client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=24, stream=True))
    assert len([c for c in chunks if c.choices[0].delta.content]) > 1
    assert chunks[-1].choices[0].finish_reason in {"stop", "length"}
    assert all(chunk.usage is None for chunk in chunks)


def test_chat_streams_usage_when_asked(client):
    chunks = list(
        client.chat.completions.create(
            model=CHAT, messages=HELLO, max_tokens=24, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0


def test_structured_answers_follow_the_schema(client):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": "Name a city."}],
        max_tokens=64,
        temperature=0,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "city", "schema": schema, "strict": True},
        },
    )
    assert answer.choices[0].message.content.startswith("{")
    assert '"city"' in answer.choices[0].message.content


def test_completions_answer_and_stream(client, lenient):
    answer = client.completions.create(model=CHAT, prompt="Once upon a time", max_tokens=8)
    assert answer.choices[0].text
    assert answer.usage.completion_tokens > 0
    text = "".join(
        c.choices[0].text
        for c in lenient.completions.create(model=CHAT, prompt="Once upon a time", max_tokens=8, stream=True)
    )
    assert text


def test_responses_answer_and_stream(client):
    answer = client.responses.create(model=CHAT, input="Say hello", max_output_tokens=24)
    assert answer.output_text.strip()
    assert answer.usage.output_tokens > 0
    events = list(client.responses.create(model=CHAT, input="Say hello", max_output_tokens=24, stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert "response.output_text.delta" in {event.type for event in events}


def test_embeddings_are_unit_vectors_that_know_meaning(client):
    texts = ["a cat sat", "a kitten rested", "tax law of 1986"]
    answer = client.embeddings.create(model=EMBED, input=texts, encoding_format="float")
    vectors = [item.embedding for item in answer.data]
    assert [len(v) for v in vectors] == [384, 384, 384]
    assert all(math.isclose(math.hypot(*v), 1, abs_tol=1e-3) for v in vectors)

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert cosine(vectors[0], vectors[1]) > cosine(vectors[0], vectors[2]) + 0.2
    assert answer.usage.prompt_tokens > 0


def test_embeddings_in_base64_are_the_same_numbers(client, lenient):
    # The client asks for base64 unless told otherwise, and decodes it only after its own strict check.
    floats = (
        client.embeddings.create(model=EMBED, input="a cat sat", encoding_format="float").data[0].embedding
    )
    assert lenient.embeddings.create(model=EMBED, input="a cat sat").data[0].embedding == pytest.approx(
        floats, abs=1e-6
    )


def test_the_same_api_under_v2_serve(client, cloud):
    other = client.with_options(base_url=cloud.serve_url.replace("/v1", "/v2/serve"))
    assert CHAT in {model.id for model in other.models.list()}
    assert other.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=4).choices[0].message.content


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nothing-here", messages=HELLO)
    assert caught.value.code == "model_not_found"
    assert "nothing-here" in caught.value.message
    assert caught.value.request_id
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing-here")


def test_a_bad_key_is_unauthorized(client):
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="nonsense").models.list()
    assert caught.value.request_id


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"messages": "hello"}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"api_base": "http://example.com"}, "api_base"),
        ({"base_url": "http://example.com"}, "base_url"),
        ({"api_key": "k"}, "api_key"),
        ({"extra_headers": {"x": "y"}}, "extra_headers"),
    ],
)
def test_what_a_caller_may_not_send_is_refused_by_name(client, extra, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": CHAT, "messages": HELLO, "extra_body": extra})
    assert caught.value.param == param


def test_too_long_a_prompt_says_the_limit(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=CHAT, messages=[{"role": "user", "content": "word " * 20_000}])
    assert caught.value.code == "context_length_exceeded"
    assert any(ch.isdigit() for ch in caught.value.message)


def test_a_model_of_another_kind_is_refused(client):
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model=CHAT, input="x")
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=EMBED, messages=HELLO)
    with pytest.raises(openai.BadRequestError):
        client.images.generate(model=CHAT, prompt="x")
