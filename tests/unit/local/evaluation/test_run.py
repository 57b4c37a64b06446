import json

import boto3
import pytest
from lisa_local.cloud import Answer
from lisa_local.console import Problem
from lisa_local.evaluation import baselines, product
from lisa_local.evaluation.dataset import Dataset, content, document_id, file_name
from lisa_local.evaluation.run import evaluate
from moto import mock_aws

from tests.unit.local.evaluation.places import BUCKET, Cloud, write_dataset


class Directory:
    def __init__(self, cloud: Cloud) -> None:
        pass

    def token(self, user: str) -> str:
        return "token"


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "small")


@pytest.fixture
def cloud(monkeypatch):
    monkeypatch.setattr(product, "Directory", Directory)
    monkeypatch.setattr(product, "_PAUSE_S", 0.01)
    monkeypatch.setattr(product, "_PATIENCE_S", 0.1)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=BUCKET)
        yield Cloud()


def objects() -> dict[str, bytes]:
    s3 = boto3.client("s3", region_name="us-east-1")
    listed = s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {each["Key"]: s3.get_object(Bucket=BUCKET, Key=each["Key"])["Body"].read() for each in listed}


def test_a_dataset_is_read_with_what_can_be_found_and_what_was_judged(folder):
    dataset = Dataset.read(folder)
    assert [document.id for document in dataset.documents] == ["1", "2/b", "3"]
    assert dataset.empty == 1
    assert dataset.queries == {"q1": "swept wings", "q2": "panels"}
    assert dataset.judgements["q2"] == {"3": 1, "2/b": 0}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("docs.jsonl", '{"id": "1"}\nno json\n', "docs.jsonl:2 is no JSON object"),
        ("docs.jsonl", '{"title": "no id"}\n', "docs.jsonl:1: id must be a text"),
        ("qrels.dev.tsv", "query\tdoc\trel\nq1\t1\n", "qrels.dev.tsv:2: three columns"),
        ("queries.dev.jsonl", '{"id": "other", "text": "x"}\n', "no queries with relevant documents"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_said_with_its_place(folder, name, text, says):
    (folder / name).write_text(text)
    with pytest.raises(Problem, match=says):
        Dataset.read(folder)


def test_a_dataset_without_judgements_is_none(folder):
    (folder / "qrels.dev.tsv").unlink()
    with pytest.raises(Problem, match=r"no qrels\.\*\.tsv"):
        Dataset.read(folder)


def test_a_document_becomes_a_page_and_its_name_leads_back(folder):
    _, slabs, _ = Dataset.read(folder).documents
    assert document_id(file_name("2/b")) == "2/b"
    assert "/" not in file_name("2/b")
    assert b"<p>heat &lt;b&gt;transfer&lt;/b&gt; in slabs &amp; plates</p>" in content(slabs)


def test_every_way_to_search_is_measured_beside_plain_libraries(folder, cloud, capsys, tmp_path):
    found = evaluate(cloud, folder, repository="docs", collection="mine", report=tmp_path / "figures.json")
    figures = {each.way: each for each in found}
    # q1 finds its document first; q2 second, behind another that counts once: 1/log2(3)
    for way in ("dense", "lexical", "fused (both arms)", "hybrid"):
        assert figures[way].ndcg_10 == pytest.approx((1 + 0.63093) / 2, abs=1e-5)
        assert figures[way].recall_10 == 1.0
        assert figures[way].p95_ms > 0
    assert figures["bm25s, whole documents"].ndcg_10 == figures["exact dense, whole docs"].ndcg_10 == 1.0
    assert [each["way"] for each in json.loads((tmp_path / "figures.json").read_text())] == list(figures)
    assert {asked["mode"][0] for asked in cloud.asked} == {"dense", "lexical", "hybrid"}
    assert "3 documents (3 dropped now, 1 empty left out), 2 queries" in capsys.readouterr().out


def test_only_what_is_missing_or_differs_is_dropped(folder, cloud, capsys):
    evaluate(cloud, folder, repository="docs", collection="mine", peers=False)
    before = objects()
    assert sorted(before) == [f"docs/c-1/small/{name}" for name in ("1.html", "2%2Fb.html", "3.html")]
    boto3.client("s3", region_name="us-east-1").put_object(
        Bucket=BUCKET, Key="docs/c-1/small/3.html", Body=b"older"
    )
    capsys.readouterr()
    evaluate(cloud, folder, repository="docs", collection="mine", peers=False)
    assert "(1 dropped now" in capsys.readouterr().out
    assert objects() == before


def test_a_package_that_is_not_there_is_named_and_the_rest_goes_on(folder, cloud, capsys, monkeypatch):
    def missing(dataset):
        raise baselines.Missing("bm25s is not installed")

    monkeypatch.setattr(baselines, "bm25", missing)
    found = evaluate(cloud, folder, repository="docs", collection="mine")
    assert "left out: bm25s is not installed" in capsys.readouterr().out
    assert [each.way for each in found][-1] == "exact dense, whole docs"


def test_a_database_that_wakes_up_is_waited_for(folder, cloud):
    cloud.sleeping = 2
    assert evaluate(cloud, folder, repository="docs", collection="mine", peers=False)


def test_documents_that_do_not_come_are_named_with_the_reason(folder, cloud, monkeypatch):
    calls = cloud.call

    def call(method, path, **options):
        if "/document?" in path:
            return Answer(200, {"documents": []})
        if "/jobs?" in path:
            job = {"s3_path": "s3://documents/docs/c-1/small/1.html", "error_message": "It is encrypted."}
            return Answer(200, {"jobs": [job]})
        return calls(method, path, **options)

    monkeypatch.setattr(cloud, "call", call)
    with pytest.raises(Problem, match=r"3 documents are not searched.*1\.html.*It is encrypted\."):
        evaluate(cloud, folder, repository="docs", collection="mine", peers=False)
