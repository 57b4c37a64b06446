"""The cache of weights against a real HTTP server that speaks S3, with the faults that a network has."""

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from lisa_model.errors import ConfigurationError, StoreUnavailableError, WeightsError
from lisa_model.weights import S3Objects, WeightsCache, download, objects

from tests.unit.model.process import PACKAGE
from tests.unit.model.s3server import S3Server

RANGE = 64 * 1024


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch):
    monkeypatch.setattr(download, "RANGE_SIZE", RANGE)
    monkeypatch.setattr(objects, "_READ_SIZE", 4096)


class Cache:
    """A cache in a folder, and what it said."""

    def __init__(self, s3: S3Server, folder: Path, choose=lambda objects: objects) -> None:
        self.said: list[str] = []
        client = boto3.client(
            "s3",
            endpoint_url=s3.url,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(retries={"total_max_attempts": 2}, response_checksum_validation="when_required"),
        )
        self.folder = folder
        self._cache = WeightsCache(
            S3Objects(client, "weights", "org/model/"), folder, self.said.append, choose
        )

    def update(self) -> dict[str, bytes]:
        """The snapshot's files. Its lock is given back, as if the engine had ended."""
        snapshot = self._cache.update()
        os.close(snapshot.lock)
        return contents(snapshot.path)

    def hold(self):
        return self._cache.update()


@pytest.fixture
def cache(s3, tmp_path) -> Cache:
    return Cache(s3, tmp_path / "weights")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def noise(size: int, seed: str = "a") -> bytes:
    return hashlib.shake_256(seed.encode()).digest(size)


def test_everything_under_the_prefix_is_fetched_and_nothing_else(s3, cache):
    # Given
    files = {
        f"{name}.bin": noise(size, name)
        for name, size in (("a", 0), ("b", 1), ("c", RANGE), ("d", 3 * RANGE + 7))
    }
    for name, body in files.items():
        s3.put(f"org/model/deep/{name}", body)
    s3.put("org/model-2/other", b"x")
    s3.put("org/model/", b"")
    # When
    found = cache.update()
    # Then
    assert found == {f"deep/{name}": body for name, body in files.items()}


def test_a_second_start_reads_no_object(s3, cache):
    s3.put("org/model/a", noise(2 * RANGE))
    cache.update()
    s3.reads.clear()
    assert cache.update() == {"a": noise(2 * RANGE)}
    assert s3.reads == []


def test_only_the_changed_object_is_read_again(s3, cache):
    s3.put("org/model/a", noise(RANGE))
    s3.put("org/model/b", noise(RANGE, "b"))
    cache.update()
    s3.reads.clear()
    s3.put("org/model/b", noise(RANGE, "new"))
    assert cache.update() == {"a": noise(RANGE), "b": noise(RANGE, "new")}
    assert {key for key, _, _ in s3.reads} == {"org/model/b"}


def test_an_object_that_is_gone_is_gone_from_the_model(s3, cache):
    s3.put("org/model/a", b"a")
    s3.put("org/model/b", b"b")
    cache.update()
    del s3.objects["org/model/b"]
    assert cache.update() == {"a": b"a"}
    assert len(list(cache.folder.glob("*/*/objects/*"))) == 1


def test_what_an_engine_reads_stays_until_it_ends(s3, cache):
    # Given
    s3.put("org/model/a", b"old")
    running = cache.hold()
    # When
    s3.put("org/model/a", b"new")
    # Then
    assert cache.update() == {"a": b"new"}
    assert contents(running.path) == {"a": b"old"}
    # When the engine ends
    os.close(running.lock)
    cache.update()
    # Then
    assert not running.path.exists()


def test_files_that_it_did_not_write_are_left_alone(s3, cache):
    s3.put("org/model/a", b"1")
    cache.update()
    base = next(cache.folder.glob("*/*"))
    mine = [base / "objects" / "notes.txt", base / "snapshots" / "keep", base / "README"]
    for file in mine:
        file.write_text("mine")
    s3.put("org/model/a", b"2")
    cache.update()
    assert all(file.read_text() == "mine" for file in mine)


def test_a_file_damaged_on_disk_is_fetched_again(s3, cache):
    s3.put("org/model/a", noise(RANGE))
    s3.put("org/model/b", b"b")
    running = cache.hold()
    os.close(running.lock)
    (running.path / "a").write_bytes(b"cut")
    (running.path / "b").unlink()
    s3.reads.clear()
    assert cache.update() == {"a": noise(RANGE), "b": b"b"}
    assert {key for key, _, _ in s3.reads} == {"org/model/a"}


def test_a_cut_connection_goes_on_where_it_stopped(s3, cache):
    # Given a server that cuts every first answer in the middle
    cut = set()

    def fault(key, first, wanted):
        if first in cut or first % RANGE:
            return wanted
        cut.add(first)
        return wanted[: len(wanted) // 2]

    s3.fault = fault
    s3.put("org/model/a", noise(2 * RANGE))
    # When
    found = cache.update()
    # Then
    assert found == {"a": noise(2 * RANGE)}
    assert sorted(first for _, first, _ in s3.reads) == [0, RANGE // 2, RANGE, RANGE + RANGE // 2]


def test_a_server_that_always_cuts_is_given_up(s3, cache, monkeypatch):
    s3.fault = lambda key, first, wanted: b""
    s3.put("org/model/a", noise(10))
    monkeypatch.setattr(download, "_READ_TRIES", 2)
    with pytest.raises(StoreUnavailableError, match="Cannot read"):
        cache.update()


@pytest.mark.parametrize("way", ["md5", "multipart", "sha256", "crc32"])
def test_damaged_bytes_are_noticed_and_fetched_again(s3, cache, way):
    # Given an object that arrives damaged the first time
    body = noise(2 * RANGE + 5)
    put_with_checksum(s3, body, way)
    first_time = iter([True])
    s3.fault = lambda key, first, wanted: b"\0" * len(wanted) if next(first_time, False) else wanted
    # When
    found = cache.update()
    # Then
    assert found == {"a": body}
    assert any("does not match" in line for line in cache.said)


@pytest.mark.parametrize("way", ["md5", "multipart", "sha256", "crc32"])
def test_bytes_that_never_match_are_refused(s3, cache, way):
    put_with_checksum(s3, noise(RANGE), way)
    s3.fault = lambda key, first, wanted: b"\0" * len(wanted)
    with pytest.raises(WeightsError, match="does not match its own checksum"):
        cache.update()
    assert not list(cache.folder.glob("*/*/snapshots/*.json"))


def put_with_checksum(s3, body, way):
    import base64
    import zlib

    if way == "md5":
        s3.put("org/model/a", body)
    elif way == "multipart":
        s3.put("org/model/a", body, part_size=40_000)
    elif way == "sha256":
        s3.put("org/model/a", body, etag="opaque", x_amz_meta_sha256=hashlib.sha256(body).hexdigest())
    else:
        checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        s3.put(
            "org/model/a",
            body,
            etag="opaque",
            x_amz_checksum_crc32=checksum,
            x_amz_checksum_type="FULL_OBJECT",
        )


def test_an_etag_that_is_no_md5_is_not_taken_for_one(s3, cache):
    s3.put("org/model/a", b"secret", etag="0" * 32, x_amz_server_side_encryption="aws:kms")
    s3.put("org/model/b", b"unequal parts", etag="0" * 32 + "-4", part_size=1)
    assert cache.update() == {"a": b"secret", "b": b"unequal parts"}


def test_an_object_replaced_while_it_is_fetched_comes_in_its_new_version(s3, cache):
    new = noise(2 * RANGE, "new")

    def fault(key, first, wanted):
        s3.fault = None
        s3.put("org/model/a", new)
        return wanted

    s3.fault = fault
    s3.put("org/model/a", noise(20 * RANGE))
    assert cache.update() == {"a": new}


def test_an_object_deleted_while_it_is_fetched_is_not_waited_for(s3, cache):
    def fault(key, first, wanted):
        s3.fault = None
        del s3.objects["org/model/b"]
        return wanted

    s3.put("org/model/a", b"a")
    s3.put("org/model/b", noise(20 * RANGE))
    s3.fault = fault
    assert cache.update() == {"a": b"a"}


def test_an_empty_prefix_says_where_the_weights_should_be(cache):
    with pytest.raises(WeightsError, match="no weights at s3://weights/org/model/"):
        cache.update()


def test_a_missing_bucket_is_named(s3, cache):
    s3.bucket = "another"
    with pytest.raises(WeightsError, match="bucket 'weights' does not exist"):
        cache.update()


def test_a_missing_permission_is_named(s3, cache):
    s3.put("org/model/a", b"a")
    s3.forbidden = True
    with pytest.raises(WeightsError, match=r"May not list .*s3:GetObject"):
        cache.update()


def test_s3_that_does_not_answer_is_another_error_than_wrong_weights(s3, cache):
    s3.close()
    with pytest.raises(StoreUnavailableError, match="Cannot list s3://weights/org/model/"):
        cache.update()


@pytest.mark.parametrize("name", ["../up", "a//b", "a/../b", "a\\b", "./a"])
def test_an_object_name_that_leads_out_of_the_folder_is_refused(s3, cache, name):
    s3.put(f"org/model/{name}", b"x")
    with pytest.raises(WeightsError, match="cannot be a file name"):
        cache.update()


def test_a_folder_that_cannot_be_written_is_a_wrong_setting(s3, tmp_path):
    s3.put("org/model/a", b"a")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="Cannot write to the weights folder"):
        Cache(s3, tmp_path / "file").update()


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(s3, cache, monkeypatch):
    s3.put("org/model/a", noise(RANGE))
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: os.terminal_size((0, 0)) and type("U", (), {"free": 100})
    )
    with pytest.raises(WeightsError, match=r"need 0\.1 MB more, 0\.0 MB are free"):
        cache.update()
    assert s3.reads == []


def test_models_whose_names_could_collide_have_folders_of_their_own(s3, tmp_path):
    s3.put("org/a", b"one")
    s3.put("org/snapshots/a", b"two")
    client = boto3.client(
        "s3", endpoint_url=s3.url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    bases = set()
    for prefix in ("org/", "org/snapshots/", "org--snapshots/"):
        s3.put(f"{prefix}b", b"three")
        snapshot = WeightsCache(S3Objects(client, "weights", prefix), tmp_path, print).update()
        bases.add(snapshot.path.parent.parent)
    assert len({base.name for base in bases}) == 3
    assert {base.parent for base in bases} == {tmp_path / "weights"}


FETCH = """
import sys, boto3
from pathlib import Path
from lisa_model.weights import S3Objects, WeightsCache, download
download.RANGE_SIZE = {size}
client = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="a",
                      aws_secret_access_key="b")
say = lambda line: print(line, flush=True)
snapshot = WeightsCache(S3Objects(client, "weights", "org/model/"), Path(sys.argv[2]), say).update()
print("done", flush=True)
sys.stdin.read()
"""


def start_fetching(s3: S3Server, folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", FETCH.format(size=RANGE), s3.url, str(folder)],
        env={"PYTHONPATH": str(PACKAGE), "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_fetch_is_continued_not_repeated(s3, cache):
    # Given a fetch that is killed when 8 of 20 ranges are on disk and the rest hangs
    total, allowed = 20, 8
    body = noise(total * RANGE)
    hang, hanging = threading.Event(), threading.Semaphore(0)
    served = []

    def fault(key, first, wanted):
        if len(served) >= allowed:
            hanging.release()
            hang.wait(30)
            return b""
        served.append(first)
        return wanted

    s3.fault = fault
    s3.put("org/model/a", body)
    process = start_fetching(s3, cache.folder)
    journal = wait_for_lines(cache.folder, allowed, hanging)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    s3.fault = None
    hang.set()
    s3.reads.clear()
    # When
    found = cache.update()
    # Then
    assert found == {"a": body}
    assert s3.bytes_read() == (total - journal) * RANGE


def wait_for_lines(folder: Path, allowed: int, hanging: threading.Semaphore) -> int:
    """Ranges noted as complete, when no more can come."""
    for _ in range(download.PARALLEL):  # all of the downloader's threads hang
        assert hanging.acquire(timeout=30)
    pause = threading.Event()
    for _ in range(600):
        noted = sum(len(file.read_text().splitlines()) for file in folder.glob("*/*/objects/*.done"))
        if noted == allowed:
            return noted
        pause.wait(0.05)
    raise AssertionError(f"{noted} ranges noted, {allowed} expected")


def test_two_containers_that_start_together_fetch_once(s3, tmp_path):
    # Given
    s3.put("org/model/a", noise(8 * RANGE))
    s3.put("org/model/b", noise(3 * RANGE, "b"))
    # When
    processes = [start_fetching(s3, tmp_path / "weights") for _ in range(2)]
    outputs = [process.communicate("")[0] for process in processes]
    # Then
    assert all(output.splitlines()[-1] == "done" for output in outputs)
    assert s3.bytes_read() == 11 * RANGE


def test_a_waiting_container_says_so(s3, cache):
    s3.put("org/model/a", b"a")
    cache.update()
    base = next(cache.folder.glob("*/*"))
    with (base / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = start_fetching(s3, cache.folder)
        assert "another container is fetching these weights" in process.stdout.readline()
    output, _ = process.communicate("")
    assert output.splitlines()[-1] == "done"
