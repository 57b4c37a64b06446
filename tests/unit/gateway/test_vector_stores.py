"""Files and vector stores with OpenAI's own client: the gateway, the real services, tables and bucket in moto."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import openai
import pytest
from lisa_gateway.retrieval.objects import S3Bucket
from moto import mock_aws
from openai import OpenAI

from tests.unit.gateway.harness import ADMIN, ALICE, BOB, chat_answer, document, running
from tests.unit.rag.openai.world import BUCKET, World

TEXT = ("notes.txt", b"The holiday is 30 days.")


@pytest.fixture(scope="module")
def gate() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        patch.setattr("lisa.rag.openai.store_files.PARALLEL", 1)  # moto's tables are not made for two threads
        world = World()
        bucket = S3Bucket(boto3.client("s3"), BUCKET)
        names = {"vector_stores_function": "stores", "search_function": "search"}
        with running(invoker=world, bucket=bucket, documents_bucket=BUCKET, **names) as gateway:
            yield SimpleNamespace(world=world, gateway=gateway)


@pytest.fixture
def world(gate: Any) -> World:
    return gate.world


@pytest.fixture
def clients(gate: Any) -> Iterator[Any]:
    made = {
        # Answers that do not fit the client's types are errors.
        name: OpenAI(
            base_url=f"http://127.0.0.1:{gate.gateway.port}/v1",
            api_key=token,
            max_retries=0,
            _strict_response_validation=name != "lenient",
        )
        for name, token in (("alice", ALICE), ("bob", BOB), ("root", ADMIN), ("lenient", ALICE))
    }
    yield SimpleNamespace(**made)
    for client in made.values():
        client.close()


@pytest.fixture
def alice(clients: Any) -> OpenAI:
    return clients.alice


@pytest.fixture
def working(world: World) -> Iterator[None]:
    """The pipeline at work beside the test."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            world.work()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


def store_of(client: OpenAI, world: World, **fields: Any) -> Any:
    made = client.vector_stores.create(**fields)
    world.activate()
    return made


# --- Files


def test_a_file_is_uploaded_listed_read_and_deleted(alice):
    made = alice.files.create(file=TEXT, purpose="assistants")
    assert (made.object, made.filename, made.bytes, made.purpose, made.status) == (
        "file", "notes.txt", 23, "assistants", "processed",
    )  # fmt: skip
    assert alice.files.retrieve(made.id) == made
    assert made.id in [each.id for each in alice.files.list(purpose="assistants")]
    assert made.id not in [each.id for each in alice.files.list(purpose="user_data")]
    assert alice.files.content(made.id).read() == TEXT[1]
    gone = alice.files.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "file")
    for call in (alice.files.retrieve, alice.files.content, alice.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)


def test_files_are_paged_both_ways(alice):
    made = [alice.files.create(file=(f"{n}.txt", b"x"), purpose="user_data").id for n in range(5)]
    assert [each.id for each in alice.files.list(purpose="user_data", limit=2)] == made[::-1]
    assert [each.id for each in alice.files.list(purpose="user_data", limit=3, order="asc")] == made
    page = alice.files.list(purpose="user_data", limit=2, after=made[3])
    assert [each.id for each in page.data] == [made[2], made[1]]
    assert page.has_more
    for file_id in made:
        alice.files.delete(file_id)


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 10_001}, {"order": "up"}, {"after": "file-x"}])
def test_a_page_that_cannot_be_is_refused(alice, query):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
        alice.files.list(**query)


# --- Vector stores


def test_a_vector_store_is_a_collection_that_belongs_to_its_maker(alice, world):
    made = alice.vector_stores.create(name="My notes", metadata={"team": "blue"}, description="for tests")
    assert made.status == "in_progress"
    world.activate()
    made = alice.vector_stores.retrieve(made.id)
    assert (made.object, made.name, made.status, made.usage_bytes) == (
        "vector_store",
        "My notes",
        "completed",
        0,
    )
    assert made.file_counts.total == 0
    collection_id = made.id.removeprefix("vs_default.")
    assert made.metadata == {
        "team": "blue",
        "repository": "default",
        "embedding_model": "mini",
        "drop_folder": f"s3://{BUCKET}/default/{collection_id}/",
        "owner": "alice",
    }
    kept = world.repositories.collection("default", collection_id)
    assert (kept.owner, kept.name, kept.allowed_groups) == ("alice", "My notes", ())
    gone = alice.vector_stores.delete(made.id)
    assert (gone.object, gone.deleted) == ("vector_store.deleted", True)
    with pytest.raises(openai.NotFoundError):
        alice.vector_stores.retrieve(made.id)


def test_an_administrators_vector_store_is_theirs_too_until_groups_are_set(clients, world):
    made = store_of(clients.root, world, name="roots")
    with pytest.raises(openai.NotFoundError):
        clients.alice.vector_stores.retrieve(made.id)
    clients.root.vector_stores.update(made.id, metadata={"allowed_groups": "team-a, team-c"})
    assert clients.alice.vector_stores.retrieve(made.id).metadata["allowed_groups"] == "team-a,team-c"
    with pytest.raises(openai.NotFoundError):
        clients.bob.vector_stores.retrieve(made.id)
    clients.root.vector_stores.delete(made.id)


@pytest.mark.parametrize("name", [None, "", "Ümläut & co/..", "x" * 200, "twice"])
def test_any_name_is_kept_and_none_is_too_many(alice, world, name):
    fields = {} if name is None else {"name": name}
    made = [store_of(alice, world, **fields) for _ in range(2)]
    assert [each.name for each in made] == [name or ""] * 2
    for each in made:
        alice.vector_stores.delete(each.id)


def test_name_and_metadata_are_changed_and_what_is_told_may_be_sent_back(alice, world):
    made = store_of(alice, world, name="before", metadata={"a": "1"})
    changed = alice.vector_stores.update(
        made.id, name="after", metadata={**made.metadata, "a": "2", "b": "3"}
    )
    assert (changed.name, changed.metadata["a"], changed.metadata["b"]) == ("after", "2", "3")
    assert changed.metadata["drop_folder"] == made.metadata["drop_folder"]
    again = alice.vector_stores.update(made.id, metadata={"c": "4"})
    assert (again.name, again.metadata.get("a"), again.metadata["c"]) == ("after", None, "4")
    for name, value in (
        ("drop_folder", "s3://elsewhere/"),
        ("embedding_model", "other"),
        ("repository", "x"),
    ):
        with pytest.raises(openai.BadRequestError, match="never changes"):
            alice.vector_stores.update(made.id, metadata={name: value})
    alice.vector_stores.delete(made.id)


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"metadata": {"repository": "nowhere"}}, openai.NotFoundError, "repository"),
        ({"metadata": {"embedding_model": "unknown"}}, openai.NotFoundError, "model"),
        ({"metadata": {"drop_folder": "s3://x/"}}, openai.BadRequestError, "ours to say"),
        ({"metadata": {"owner": "bob"}}, openai.BadRequestError, "ours to say"),
        ({"metadata": {str(n): "x" for n in range(17)}}, openai.BadRequestError, "metadata"),
        ({"metadata": {"a": 1}}, openai.BadRequestError, "metadata"),
        ({"name": "a\nb"}, openai.BadRequestError, "name"),
        ({"expires_after": {"anchor": "last_active_at", "days": 1}}, openai.BadRequestError, "not supported"),
        ({"file_ids": ["file-" + "0" * 32]}, openai.NotFoundError, "file"),
    ],
)
def test_what_is_wrong_with_a_new_vector_store_is_said(alice, world, fields, error, says):
    before = len(alice.vector_stores.list().data)
    with pytest.raises(error, match=says):
        alice.vector_stores.create(**fields)
    assert len(alice.vector_stores.list().data) == before


def test_vector_stores_are_paged_both_ways(alice, world):
    made = [store_of(alice, world, name=f"page {n}").id for n in range(5)]
    listed = [each.id for each in alice.vector_stores.list(limit=2)]
    assert listed[:5] == made[::-1]
    assert listed[-1] == "vs_default.mini"  # everybody's
    ascending = alice.vector_stores.list(order="asc", limit=2, after=made[1])
    assert [each.id for each in ascending.data] == made[2:4]
    before = alice.vector_stores.list(order="asc", limit=2, before=made[3])
    assert [each.id for each in before.data] == made[1:3]
    assert before.has_more
    for each in made:
        alice.vector_stores.delete(each)


# --- The files of a vector store


@pytest.mark.usefixtures("working")
def test_a_file_is_uploaded_and_polled_until_it_is_done(alice, world):
    store = store_of(alice, world, name="polled")
    file = alice.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=TEXT, attributes={"year": 2024}
    )
    assert (file.status, file.last_error, file.object, file.vector_store_id, file.usage_bytes) == (
        "completed", None, "vector_store.file", store.id, 23,
    )  # fmt: skip
    assert file.attributes == {"year": 2024}
    assert file.chunking_strategy.type == "static"
    assert alice.files.retrieve(file.id).filename == "notes.txt"
    store = alice.vector_stores.retrieve(store.id)
    assert (store.status, store.file_counts.completed, store.file_counts.total, store.usage_bytes) == (
        "completed", 1, 1, 23,
    )  # fmt: skip
    (part,) = alice.vector_stores.files.content(file.id, vector_store_id=store.id)
    assert part.text == TEXT[1].decode()
    alice.vector_stores.delete(store.id)


def test_a_file_goes_through_its_states(alice, world):
    store = store_of(alice, world)
    world.failing["bad.pdf"] = "The file is encrypted: remove its password."
    good = alice.files.create(file=TEXT, purpose="assistants")
    bad = alice.files.create(file=("bad.pdf", b"%PDF"), purpose="assistants")
    chunking = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 20}}
    attached = alice.vector_stores.files.create(
        vector_store_id=store.id,
        file_id=good.id,
        chunking_strategy=chunking,
        attributes={"a": "b", "c": True},
    )
    alice.vector_stores.files.create(vector_store_id=store.id, file_id=bad.id)
    assert (attached.id, attached.status) == (good.id, "in_progress")
    assert alice.vector_stores.retrieve(store.id).status == "in_progress"
    assert alice.vector_stores.retrieve(store.id).file_counts.in_progress == 2
    world.work()
    files = alice.vector_stores.files
    assert [each.id for each in files.list(store.id)] == [bad.id, good.id]
    assert [each.id for each in files.list(store.id, order="asc", limit=1)] == [good.id, bad.id]
    assert [each.id for each in files.list(store.id, filter="failed")] == [bad.id]
    assert [each.id for each in files.list(store.id, filter="in_progress")] == []
    failed = files.retrieve(bad.id, vector_store_id=store.id)
    assert (failed.status, failed.last_error.code) == ("failed", "invalid_file")
    assert failed.last_error.message == "The file is encrypted: remove its password."
    done = files.retrieve(good.id, vector_store_id=store.id)
    assert done.chunking_strategy.static.max_chunk_size_tokens == 200
    assert done.attributes == {"a": "b", "c": True}
    counts = alice.vector_stores.retrieve(store.id).file_counts
    assert (counts.completed, counts.failed, counts.in_progress, counts.total) == (1, 1, 0, 2)
    with pytest.raises(openai.BadRequestError, match="failed"):
        files.content(bad.id, vector_store_id=store.id)
    # When both are taken out, Then they are gone here, and the files themselves stay
    for file in (good, bad):
        gone = files.delete(file.id, vector_store_id=store.id)
        assert (gone.object, gone.deleted) == ("vector_store.file.deleted", True)
        with pytest.raises(openai.NotFoundError):
            files.retrieve(file.id, vector_store_id=store.id)
        assert alice.files.retrieve(file.id).id == file.id
    assert files.list(store.id).data == []
    world.work()
    assert alice.vector_stores.retrieve(store.id).file_counts.total == 0
    # And it may come back
    alice.vector_stores.files.create(vector_store_id=store.id, file_id=good.id)
    assert files.retrieve(good.id, vector_store_id=store.id).status == "in_progress"
    world.work()
    assert files.retrieve(good.id, vector_store_id=store.id).status == "completed"
    alice.vector_stores.delete(store.id)


def test_files_are_paged_by_cursor(alice, world):
    store = store_of(alice, world)
    ids = []
    for number in range(5):
        file = alice.files.create(file=(f"{number}.txt", b"x"), purpose="assistants")
        ids.append(alice.vector_stores.files.create(vector_store_id=store.id, file_id=file.id).id)
    files = alice.vector_stores.files
    assert [each.id for each in files.list(store.id, limit=2)] == ids[::-1]
    page = files.list(store.id, order="asc", limit=2, before=ids[3])
    assert ([each.id for each in page.data], page.has_more) == ([ids[1], ids[2]], True)
    page = files.list(store.id, limit=2, before=ids[3])
    assert ([each.id for each in page.data], page.has_more) == ([ids[4]], False)
    world.work()
    alice.vector_stores.delete(store.id)


@pytest.mark.usefixtures("working")
def test_a_batch_is_uploaded_and_polled(alice, world):
    store = store_of(alice, world)
    world.failing["bad.txt"] = "The file is empty."
    named = [(f"{n}.txt", f"text {n}".encode()) for n in range(6)] + [("bad.txt", b" ")]
    batch = alice.vector_stores.file_batches.upload_and_poll(vector_store_id=store.id, files=named)
    assert (batch.object, batch.status) == ("vector_store.files_batch", "completed")
    assert (batch.file_counts.completed, batch.file_counts.failed, batch.file_counts.total) == (6, 1, 7)
    listed = alice.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, filter="failed")
    assert [each.last_error.message for each in listed] == ["The file is empty."]
    assert (
        len(list(alice.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, limit=3)))
        == 7
    )
    other = store_of(alice, world)
    with pytest.raises(openai.NotFoundError):
        alice.vector_stores.file_batches.retrieve(batch.id, vector_store_id=other.id)
    for each in (store, other):
        alice.vector_stores.delete(each.id)


def test_a_cancelled_batch_takes_out_what_is_not_done(alice, world):
    store = store_of(alice, world)
    done, waiting = (alice.files.create(file=(f"{n}.txt", b"x"), purpose="assistants").id for n in range(2))
    alice.vector_stores.files.create(vector_store_id=store.id, file_id=done)
    world.work()
    batches = alice.vector_stores.file_batches
    batch = batches.create(vector_store_id=store.id, files=[{"file_id": waiting, "attributes": {"n": 1}}])
    assert batch.status == "in_progress"
    cancelled = batches.cancel(batch.id, vector_store_id=store.id)
    assert (cancelled.status, cancelled.file_counts.cancelled) == ("cancelled", 1)
    world.work()
    assert [each.id for each in alice.vector_stores.files.list(store.id)] == [done]
    (listed,) = batches.list_files(batch.id, vector_store_id=store.id, filter="cancelled")
    assert (listed.id, listed.status) == (waiting, "cancelled")
    alice.vector_stores.delete(store.id)


def test_attributes_are_changed_in_place(alice, world):
    store = store_of(alice, world)
    file = alice.files.create(file=TEXT, purpose="assistants")
    alice.vector_stores.files.create(vector_store_id=store.id, file_id=file.id, attributes={"a": 1})
    world.work()
    changed = alice.vector_stores.files.update(
        file.id, vector_store_id=store.id, attributes={"b": "x", "c": False}
    )
    assert changed.attributes == {"b": "x", "c": False}
    alice.vector_stores.delete(store.id)


def test_files_dropped_into_its_folder_are_files_of_a_vector_store(alice, world):
    store = store_of(alice, world)
    folder = store.metadata["drop_folder"].removeprefix(f"s3://{BUCKET}/")
    world.drop(folder + "deep/path/report.txt", b"Dropped.")
    # And a key that looks like somebody's file is that document's own, and nobody's else
    forged = f"{folder}alice/file-{'0' * 32}/x.txt"
    world.drop(forged, b"Forged.")
    world.work()
    listed = list(alice.vector_stores.files.list(store.id, order="asc"))
    assert [each.status for each in listed] == ["completed", "completed"]
    names = {alice.files.retrieve(each.id).filename: each.id for each in listed}
    assert set(names) == {"report.txt", "x.txt"}
    assert names["x.txt"] != f"file-{'0' * 32}"
    assert alice.files.content(names["report.txt"]).read() == b"Dropped."
    found = alice.vector_stores.search(store.id, query="anything").data
    assert {each.file_id for each in found} == set(names.values())
    alice.vector_stores.delete(store.id)


def test_a_deleted_file_leaves_every_vector_store(alice, world):
    stores = [store_of(alice, world) for _ in range(2)]
    file = alice.files.create(file=TEXT, purpose="assistants")
    for store in stores:
        alice.vector_stores.files.create(vector_store_id=store.id, file_id=file.id)
    world.work()
    alice.files.delete(file.id)
    world.work()
    for store in stores:
        assert list(alice.vector_stores.files.list(store.id)) == []
        assert alice.vector_stores.retrieve(store.id).file_counts.total == 0
        alice.vector_stores.delete(store.id)


def test_a_search_names_the_uploaded_file(alice, world):
    store = store_of(alice, world)
    file = alice.files.create(file=TEXT, purpose="assistants")
    alice.vector_stores.files.create(vector_store_id=store.id, file_id=file.id, attributes={"year": 2024})
    world.work()
    page = alice.vector_stores.search(store.id, query="How long?", rewrite_query=True, max_num_results=3)
    (found,) = page.data
    assert (found.file_id, found.filename, found.content[0].text) == (file.id, "notes.txt", TEXT[1].decode())
    assert found.attributes == {"year": 2024}
    alice.vector_stores.delete(store.id)


def test_an_answer_cites_the_uploaded_file(gate, clients, world):
    alice = clients.lenient  # its types know no annotation but an address
    store = store_of(alice, world)
    file = alice.files.create(file=TEXT, purpose="assistants")
    alice.vector_stores.files.create(vector_store_id=store.id, file_id=file.id)
    world.work()
    gate.gateway.upstream.reply = document(chat_answer("30 days [1]."))
    tools: Any = [{"type": "file_search", "vector_store_ids": [store.id]}]
    answer = alice.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "How long is it?"}], tools=tools
    )
    (cited,) = answer.choices[0].message.annotations
    assert (cited.file_id, cited.filename) == (file.id, "notes.txt")
    alice.vector_stores.delete(store.id)


# --- Whose they are


def test_nothing_of_alices_is_there_for_bob(clients, world):
    alice, bob = clients.alice, clients.bob
    store = store_of(alice, world, name="private")
    file = alice.files.create(file=TEXT, purpose="assistants")
    alice.vector_stores.files.create(vector_store_id=store.id, file_id=file.id)
    batch = alice.vector_stores.file_batches.create(vector_store_id=store.id, file_ids=[file.id])
    world.work()
    own = store_of(bob, world, name="bobs")
    vs: dict[str, Any] = {"vector_store_id": store.id}
    calls = [
        lambda: bob.files.retrieve(file.id),
        lambda: bob.files.content(file.id),
        lambda: bob.files.delete(file.id),
        lambda: bob.vector_stores.retrieve(store.id),
        lambda: bob.vector_stores.update(store.id, name="mine"),
        lambda: bob.vector_stores.delete(store.id),
        lambda: bob.vector_stores.search(store.id, query="holiday"),
        lambda: bob.vector_stores.files.list(store.id),
        lambda: bob.vector_stores.files.create(file_id=file.id, **vs),
        lambda: bob.vector_stores.files.retrieve(file.id, **vs),
        lambda: bob.vector_stores.files.update(file.id, attributes={}, **vs),
        lambda: bob.vector_stores.files.delete(file.id, **vs),
        lambda: bob.vector_stores.files.content(file.id, **vs),
        lambda: bob.vector_stores.file_batches.create(file_ids=[file.id], **vs),
        lambda: bob.vector_stores.file_batches.retrieve(batch.id, **vs),
        lambda: bob.vector_stores.file_batches.cancel(batch.id, **vs),
        lambda: bob.vector_stores.file_batches.list_files(batch.id, **vs),
        # And by a way through what is his
        lambda: bob.vector_stores.files.create(vector_store_id=own.id, file_id=file.id),
        lambda: bob.vector_stores.files.retrieve(file.id, vector_store_id=own.id),
        lambda: bob.vector_stores.files.content(file.id, vector_store_id=own.id),
        lambda: bob.vector_stores.files.delete(file.id, vector_store_id=own.id),
        lambda: bob.vector_stores.file_batches.retrieve(batch.id, vector_store_id=own.id),
        lambda: bob.vector_stores.create(file_ids=[file.id]),
    ]
    for call in calls:
        with pytest.raises(openai.NotFoundError):
            call()
    assert file.id not in [each.id for each in bob.files.list()]
    assert store.id not in [each.id for each in bob.vector_stores.list()]
    # And nothing has happened to it
    assert alice.files.content(file.id).read() == TEXT[1]
    assert [each.status for each in alice.vector_stores.files.list(store.id)] == ["completed"]
    assert alice.vector_stores.retrieve(store.id).name == "private"
    for client, each in ((alice, store), (bob, own)):
        client.vector_stores.delete(each.id)


def test_in_a_shared_vector_store_others_read_and_take_out_only_their_own(clients, world):
    alice, bob = clients.alice, clients.bob
    store = store_of(alice, world, metadata={"allowed_groups": "team-a,team-b"})
    hers = alice.files.create(file=TEXT, purpose="assistants")
    his = bob.files.create(file=("his.txt", b"Mine."), purpose="assistants")
    alice.vector_stores.files.create(vector_store_id=store.id, file_id=hers.id)
    bob.vector_stores.files.create(vector_store_id=store.id, file_id=his.id)
    world.work()
    assert {each.id for each in bob.vector_stores.files.list(store.id)} == {hers.id, his.id}
    assert len(bob.vector_stores.search(store.id, query="x").data) == 2
    for call in (
        lambda: bob.vector_stores.files.delete(hers.id, vector_store_id=store.id),
        lambda: bob.vector_stores.files.update(hers.id, vector_store_id=store.id, attributes={}),
        lambda: bob.vector_stores.update(store.id, name="mine"),
        lambda: bob.vector_stores.delete(store.id),
    ):
        with pytest.raises(openai.PermissionDeniedError):
            call()
    with pytest.raises(openai.NotFoundError):
        bob.files.retrieve(hers.id)
    bob.vector_stores.files.delete(his.id, vector_store_id=store.id)
    world.work()
    assert [each.id for each in alice.vector_stores.files.list(store.id)] == [hers.id]
    alice.vector_stores.delete(store.id)


def test_every_route_of_the_interface_is_one_of_the_gateways_and_the_other_way_round(world):
    from lisa.identity import RULES

    ruled = {
        (rule.method, rule.path.removeprefix("/v1"))
        for rule in RULES
        if rule.door == "gateway" and rule.path.startswith(("/v1/files", "/v1/vector_stores"))
    }
    # The search goes to the function that searches.
    assert ruled - world.interface.routes == {("POST", "/vector_stores/{vectorStoreId}/search")}
    assert world.interface.routes <= ruled
