"""What is PostgreSQL's own: exact counts whatever happens at once, posting lists that stay short, connections."""

from __future__ import annotations

import json
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import psycopg2
import pytest
from lisa.errors import Unavailable
from lisa.rag.vectors.analysis import words
from lisa.rag.vectors.base import Index, Visibility
from lisa.rag.vectors.pgvector import Address, PgvectorStore, bm25, lists, schema
from lisa.rag.vectors.pgvector.preparing import prepare

from tests.cloud import eventually
from tests.unit.rag.vectors.corpus import ANYBODY, chunks, dense, document, lexical, texts

Ask = Callable[..., list[tuple]]


@pytest.fixture
def store(pgvector_store: PgvectorStore) -> PgvectorStore:
    return pgvector_store


@pytest.fixture(scope="session")
def owner(postgres: Address, postgres_home: Path) -> Address:
    note = json.loads((postgres_home / "postgres.json").read_text())
    return replace(postgres, user=note["user"], password=lambda: str(note["password"]))


def connected(address: Address) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(
        host=address.host,
        port=address.port,
        dbname=address.database,
        user=address.user,
        password=address.password(),
    )
    connection.autocommit = True
    return connection


@pytest.fixture
def ask(owner: Address) -> Iterator[Ask]:
    connection = connected(owner)

    def run(statement: str, *values: object) -> list[tuple]:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    yield run
    connection.close()


def table(index: Index, part: str) -> str:
    return f"{schema.SCHEMA}.{schema.name_of(index)}_{part}"


def counted(ask: Ask, index: Index) -> tuple[Counter[int], tuple[int, int, int]]:
    """In how many chunks each word is, and the index's own counts, as the tables say."""
    terms = Counter(dict(ask(f"SELECT term, chunks FROM {table(index, 'terms')}")))
    ((documents, pieces, length),) = ask(
        f"SELECT documents, chunks, words FROM {schema.SCHEMA}.indices WHERE name = %s", schema.name_of(index)
    )
    return terms, (documents, pieces, length)


def expected(kept: dict[str, list[str]]) -> tuple[Counter[int], tuple[int, int, int]]:
    terms: Counter[int] = Counter()
    pieces = [text for parts in kept.values() for text in parts]
    for text in pieces:
        terms.update({bm25.term(word) for word in words(text)})
    return terms, (len(kept), len(pieces), sum(len(words(text)) for text in pieces))


def some_text(generator: random.Random) -> str:
    return " ".join(generator.choices([f"word{number}" for number in range(30)], k=generator.randint(1, 12)))


def test_counts_stay_exact_however_many_write_at_once(store: PgvectorStore, index: Index, ask: Ask) -> None:
    # Given: each writer has documents of its own, and all share their words
    kept: dict[str, list[str]] = {}
    failures: list[BaseException] = []

    def write(writer: int) -> None:
        generator = random.Random(writer)
        try:
            for step in range(40):
                id_ = f"w{writer} d{generator.randrange(6)}"
                if generator.random() < 0.25:
                    store.remove(index, id_, f"{step:04}")
                    kept.pop(id_, None)
                else:
                    kept[id_] = [some_text(generator) for _ in range(generator.randint(0, 4))]
                    store.replace(index, document(id_, f"{step:04}"), chunks(*kept[id_]))
        except BaseException as error:
            failures.append(error)

    # When
    writers = [Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    # Then
    assert failures == []
    assert counted(ask, index) == expected(kept)


def test_a_write_that_breaks_off_counts_nothing(store: PgvectorStore, index: Index, ask: Ask) -> None:
    store.replace(index, document(), chunks("apple pear", "apple"))
    before = counted(ask, index)
    with pytest.raises(ZeroDivisionError):
        store.replace(index, document(sequencer="02"), (chunks("plum")[0] for _ in [1 / 0]))
    assert counted(ask, index) == before


def test_lists_stay_short_and_lose_what_is_gone(store: PgvectorStore, index: Index, ask: Ask) -> None:
    # When: many documents share a word, and each is replaced many times
    for version in range(6):
        for number in range(3 * lists.MANY_PIECES):
            store.replace(
                index, document(f"d{number}", f"{version:04}"), chunks(f"shared only{number}v{version}")
            )

    # Then
    documents = 3 * lists.MANY_PIECES
    pieces = ask(
        f"SELECT entries FROM {table(index, 'postings')} WHERE term = %s", bm25.term(words("shared")[0])
    )
    entries = bm25.decoded([entry for (entry,) in pieces])
    assert len(pieces) <= lists.MANY_PIECES + 1
    assert documents <= len(entries) <= 2 * documents
    ((count,),) = ask(f"SELECT count(*) FROM {table(index, 'terms')}")
    assert count == documents + 1
    gone = bm25.term(words("only3v2")[0])
    assert ask(f"SELECT 1 FROM {table(index, 'postings')} WHERE term = %s", gone) == []
    assert len(store.search(index, lexical("shared", limit=1000), ANYBODY).lexical) == documents


def test_full_pieces_are_kept_as_they_are(
    store: PgvectorStore, index: Index, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "FULL", 20)
    for number in range(80):
        store.replace(index, document(f"d{number}"), chunks(*["shared"] * 3))
    sizes = [
        size // bm25.ENTRY.itemsize
        for (size,) in ask(f"SELECT octet_length(entries) FROM {table(index, 'postings')}")
    ]
    assert sum(sizes) == 240
    assert max(sizes) == 20
    assert len(store.search(index, lexical("shared", limit=1000), ANYBODY).lexical) == 240


def test_numbers_far_apart_are_scored_alike() -> None:
    near = [(2.0, bm25.decoded([bm25.encoded([(1, 5, 1), (2, 7, 3)])]))]
    far = [(2.0, bm25.decoded([bm25.encoded([(1, 5, 1), (2_000_000_000, 7, 3)])]))]
    numbers, scores = bm25.score(near, 6.0)
    apart, same = bm25.score(far, 6.0)
    assert numbers.tolist() == [1, 2]
    assert apart.tolist() == [1, 2_000_000_000]
    assert same == pytest.approx(scores)


def test_many_processes_make_the_schema_at_once(owner: Address, ask: Ask) -> None:
    # Given
    ask("CREATE DATABASE fresh")
    fresh = replace(owner, database="fresh")
    connection = connected(fresh)
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION vector")
    connection.close()
    index = Index("r", "c", 1, 8)
    failures: list[BaseException] = []

    def start() -> None:
        store = PgvectorStore(fresh)
        try:
            store.create(index, Visibility())
            store.size(index)
        except BaseException as error:
            failures.append(error)
        finally:
            store.close()

    # When
    starters = [Thread(target=start) for _ in range(6)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()

    # Then
    assert failures == []
    ask("DROP DATABASE fresh")


def test_a_deployment_prepares_the_database_for_a_user_of_its_own(owner: Address, ask: Ask) -> None:
    # Given: a new database, as Aurora's, where a role stands for signing in with IAM
    ask("CREATE DATABASE prepared")
    ask("CREATE ROLE rds_iam")
    fresh = replace(owner, database="prepared")

    # When: at every deployment
    for _ in range(2):
        prepare(fresh, "functions")

    # Then
    ((member,),) = ask("SELECT pg_has_role('functions', 'rds_iam', 'member')")
    assert member
    ask("ALTER ROLE functions PASSWORD 'known-to-the-test'")
    store = PgvectorStore(replace(fresh, user="functions", password=lambda: "known-to-the-test"))
    index = Index("r", "c", 1, 8)
    store.create(index, Visibility())
    store.replace(index, document(), chunks("apple"))
    assert texts(store.search(index, dense(0), ANYBODY).dense) == ["apple"]
    store.close()
    ask("DROP DATABASE prepared")
    ask("DROP ROLE functions")
    ask("DROP ROLE rds_iam")


@pytest.fixture
def end_connections(ask: Ask, store: PgvectorStore) -> Iterator[Callable[[], None]]:
    def end() -> None:
        ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lisa'")

    yield end
    store.close()  # its idle ones were among them, and are not to be lent to the next test


def test_connections_that_the_server_ended_are_made_anew(
    postgres: Address, unmade: Index, end_connections: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lisa.rag.vectors.pgvector.connections.FRESH_SECONDS", 0)
    store = PgvectorStore(postgres)
    store.create(unmade, Visibility())
    end_connections()
    assert store.size(unmade).chunks == 0
    store.drop(unmade)
    store.close()


def test_a_connection_that_breaks_at_work_is_an_outage_that_ends(
    postgres: Address, unmade: Index, end_connections: Callable[[], None]
) -> None:
    store = PgvectorStore(postgres)
    store.create(unmade, Visibility())
    store.replace(unmade, document(), chunks("old"))

    def breaking() -> Iterator:
        yield from chunks("new")
        end_connections()

    with pytest.raises(Unavailable) as raised:
        store.replace(unmade, document(sequencer="02"), breaking())
    assert raised.value.retry_after
    assert [chunk.text for chunk in store.chunks(unmade, "d1")] == ["old"]
    store.drop(unmade)
    store.close()


def test_a_closed_store_leaves_no_connection_and_works_on(postgres: Address, unmade: Index, ask: Ask) -> None:
    mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lisa' AND usename = %s"
    ((before,),) = ask(mine, postgres.user)
    store = PgvectorStore(postgres)
    store.create(unmade, Visibility())
    assert ask(mine, postgres.user) == [(before + 1,)]
    store.close()
    ask("SELECT pg_sleep(0.1)")
    assert ask(mine, postgres.user) == [(before,)]
    store.drop(unmade)
    store.close()


def test_failures_leave_no_connection_behind(store: PgvectorStore, unmade: Index, ask: Ask) -> None:
    mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lisa'"
    (before,) = ask(mine)
    for _ in range(20):
        with pytest.raises(Exception, match="no index"):
            store.search(unmade, dense(0), ANYBODY)
    # PostgreSQL notices a moment later that a connection has been closed.
    eventually("the connections are gone", lambda: ask(mine)[0][0] <= max(before[0], 1), within=10)


def test_a_database_that_is_away_is_an_outage_and_no_error(postgres: Address, unmade: Index) -> None:
    # Given: a port that nobody listens on
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        away = PgvectorStore(replace(postgres, port=probe.getsockname()[1], seconds=1, tries=3))
        for call in (
            lambda: away.create(unmade, Visibility()),
            lambda: away.drop(unmade),
            lambda: away.set_visibility(unmade, Visibility()),
            lambda: away.replace(unmade, document(), chunks("a")),
            lambda: away.retag(unmade, document()),
            lambda: away.remove(unmade, "d1", "01"),
            lambda: away.search(unmade, dense(0), ANYBODY),
            lambda: away.chunks(unmade, "d1"),
            lambda: away.size(unmade),
        ):
            with pytest.raises(Unavailable) as raised:
                call()
            assert raised.value.retry_after


def test_a_wrong_password_is_not_said_aloud(postgres: Address, unmade: Index) -> None:
    store = PgvectorStore(replace(postgres, password=lambda: "s3cret-of-somebody"))
    with pytest.raises(Unavailable) as raised:
        store.size(unmade)
    assert "s3cret" not in raised.value.message
