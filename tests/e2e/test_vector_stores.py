"""Files, vector stores and `file_search` with OpenAI's client: real ingestion, real search, a real model."""

import io
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.cloud import eventually

pytestmark = pytest.mark.cloud

CHAT = "smollm2-135m"
HOLIDAY = b"# Handbook\n\nEvery employee of Zephyr Works has 31 days of paid holiday a year.\n"
SOUP = b"# Canteen\n\nThe canteen serves lentil soup on Mondays and fish on Fridays.\n"
QUESTION = "How many days of paid holiday do employees have?"


@pytest.fixture(scope="module")
def people(cloud: Any) -> Iterator[dict[str, openai.OpenAI]]:
    made = {
        name: openai.OpenAI(base_url=cloud.serve_url, api_key=cloud.token(name), max_retries=0, timeout=120)
        for name in ("admin", "alice", "bob")
    }
    yield made
    for client in made.values():
        client.close()


@pytest.fixture(scope="module")
def store(people: dict[str, openai.OpenAI]) -> Iterator[Any]:
    """A vector store of alice's with two files in it."""
    alice = people["alice"]
    made = alice.vector_stores.create(name="Handbook and canteen")
    batch = alice.vector_stores.file_batches.upload_and_poll(
        vector_store_id=made.id, files=[("handbook.md", HOLIDAY), ("canteen.md", SOUP)]
    )
    assert (batch.status, batch.file_counts.completed) == ("completed", 2), _reasons(alice, made.id)
    yield made
    alice.vector_stores.delete(made.id)


def _reasons(client: openai.OpenAI, store_id: str) -> list[Any]:
    return [each.last_error for each in client.vector_stores.files.list(store_id)]


def test_a_file_can_be_searched_when_polling_ends(client):
    made = client.vector_stores.create(name="one file", metadata={"purpose": "test"})
    began = time.monotonic()
    file = client.vector_stores.files.upload_and_poll(
        vector_store_id=made.id,
        file=("handbook.md", HOLIDAY),
        attributes={"year": 2026},
        poll_interval_ms=200,
    )
    print(f"dropped to completed in {time.monotonic() - began:.1f} s")
    assert (file.status, file.last_error) == ("completed", None)
    found = client.vector_stores.search(made.id, query=QUESTION, max_num_results=5).data
    assert found[0].file_id == file.id
    assert found[0].filename == "handbook.md"
    assert "31 days" in found[0].content[0].text
    assert found[0].attributes == {"year": 2026}
    text = "".join(
        part.text or "" for part in client.vector_stores.files.content(file.id, vector_store_id=made.id)
    )
    assert "31 days" in text
    shown = client.vector_stores.retrieve(made.id)
    assert (shown.status, shown.file_counts.completed, shown.file_counts.total) == ("completed", 1, 1)
    client.vector_stores.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.search(made.id, query=QUESTION)


def test_filters_choose_among_files(people, store):
    alice = people["alice"]
    ids = {
        alice.files.retrieve(each.id).filename: each.id for each in alice.vector_stores.files.list(store.id)
    }
    alice.vector_stores.files.update(ids["canteen.md"], vector_store_id=store.id, attributes={"kind": "menu"})
    only: Any = {"type": "eq", "key": "kind", "value": "menu"}

    def filtered() -> bool:
        found = alice.vector_stores.search(store.id, query=QUESTION, filters=only).data
        return {each.file_id for each in found} == {ids["canteen.md"]}

    eventually("the attribute's effect", filtered, within=30)
    with pytest.raises(openai.BadRequestError, match="type"):
        alice.vector_stores.search(
            store.id, query=QUESTION, filters={"type": "like", "key": "a", "value": "b"}
        )


def test_a_file_that_cannot_be_read_fails_with_a_reason(client):
    made = client.vector_stores.create(name="broken")
    file = client.vector_stores.files.upload_and_poll(
        vector_store_id=made.id, file=("broken.pdf", io.BytesIO(b"%PDF-1.7 this is no pdf"))
    )
    assert file.status == "failed"
    assert file.last_error.message
    assert client.vector_stores.retrieve(made.id).file_counts.failed == 1
    client.vector_stores.delete(made.id)


def test_what_is_dropped_into_its_folder_is_a_file_of_it(client, cloud, store, people):
    bucket, _, folder = store.metadata["drop_folder"].removeprefix("s3://").partition("/")
    cloud.session.client("s3").put_object(
        Bucket=bucket, Key=folder + "dropped/notes.txt", Body=b"The safe is blue."
    )
    alice = people["alice"]

    def arrived() -> Any:
        files = alice.vector_stores.files.list(store.id, filter="completed")
        return [each for each in files if alice.files.retrieve(each.id).filename == "notes.txt"]

    (file,) = eventually("the dropped file", arrived, within=60)
    assert alice.files.content(file.id).read() == b"The safe is blue."
    alice.vector_stores.files.delete(file.id, vector_store_id=store.id)


def test_a_response_rests_on_what_was_found(people, store):
    alice = people["alice"]
    answer = alice.responses.create(
        model=CHAT,
        input=QUESTION,
        tools=[{"type": "file_search", "vector_store_ids": [store.id], "max_num_results": 2}],
        include=["file_search_call.results"],
        max_output_tokens=48,
        temperature=0,
    )
    search, message = answer.output[0], answer.output[-1]
    assert (search.type, search.status, search.queries) == ("file_search_call", "completed", [QUESTION])
    assert search.results[0].filename == "handbook.md"
    assert message.type == "message"
    # What a model of this size makes of the passages is its own affair; that it was given them is ours.
    assert answer.output_text
    assert answer.usage.input_tokens > 80


def test_a_streamed_response_tells_of_the_search_first(people, store):
    alice = people["alice"]
    kinds = [
        event.type
        for event in alice.responses.create(
            model=CHAT,
            input=QUESTION,
            tools=[{"type": "file_search", "vector_store_ids": [store.id], "max_num_results": 2}],
            max_output_tokens=16,
            stream=True,
        )
    ]
    searching = [kind for kind in kinds if "file_search_call" in kind]
    assert searching == [f"response.file_search_call.{s}" for s in ("in_progress", "searching", "completed")]
    assert kinds.index("response.file_search_call.completed") < kinds.index("response.output_text.delta")
    assert kinds[-1] in {"response.completed", "response.incomplete"}


def test_chat_takes_the_same_tool(people, store):
    alice = people["alice"]
    tools: Any = [{"type": "file_search", "vector_store_ids": [store.id], "max_num_results": 2}]
    answer = alice.chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": QUESTION}],
        tools=tools,
        max_tokens=48,
        temperature=0,
    )
    assert answer.choices[0].message.content
    assert answer.choices[0].message.annotations is not None
    assert answer.model_extra["file_search_call"]["results"][0]["filename"] == "handbook.md"
    assert answer.usage.prompt_tokens > 80  # the passages are part of it
    chunks = list(
        alice.chat.completions.create(
            model=CHAT,
            messages=[{"role": "user", "content": QUESTION}],
            tools=tools,
            max_tokens=16,
            stream=True,
        )
    )
    closing = next(chunk for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason)
    assert closing.model_extra["file_search_call"]["results"]


def test_nothing_of_alices_is_there_for_bob(people, store):
    alice, bob = people["alice"], people["bob"]
    file = next(iter(alice.vector_stores.files.list(store.id)))
    tools: Any = [{"type": "file_search", "vector_store_ids": [store.id]}]
    vs: dict[str, Any] = {"vector_store_id": store.id}
    for call in (
        lambda: bob.files.retrieve(file.id),
        lambda: bob.files.content(file.id),
        lambda: bob.files.delete(file.id),
        lambda: bob.vector_stores.retrieve(store.id),
        lambda: bob.vector_stores.search(store.id, query=QUESTION),
        lambda: bob.vector_stores.files.list(store.id),
        lambda: bob.vector_stores.files.retrieve(file.id, **vs),
        lambda: bob.vector_stores.files.content(file.id, **vs),
        lambda: bob.vector_stores.files.delete(file.id, **vs),
        lambda: bob.vector_stores.delete(store.id),
        lambda: bob.responses.create(model=CHAT, input=QUESTION, tools=tools),
        lambda: bob.chat.completions.create(
            model=CHAT, messages=[{"role": "user", "content": QUESTION}], tools=tools
        ),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    assert store.id not in [each.id for each in bob.vector_stores.list()]
    assert store.id in [each.id for each in people["admin"].vector_stores.list(limit=100)]


def test_a_batch_can_be_cancelled(people):
    alice = people["alice"]
    made = alice.vector_stores.create(name="cancelled")
    ids = [alice.files.create(file=(f"{n}.md", SOUP), purpose="assistants").id for n in range(3)]
    batch = alice.vector_stores.file_batches.create(vector_store_id=made.id, file_ids=ids)
    alice.vector_stores.file_batches.cancel(batch.id, vector_store_id=made.id)
    done = alice.vector_stores.file_batches.poll(batch.id, vector_store_id=made.id)
    assert done.file_counts.cancelled + done.file_counts.completed == 3
    for each in ids:
        alice.files.delete(each)
    alice.vector_stores.delete(made.id)
