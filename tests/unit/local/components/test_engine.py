"""The container engine, through the client that the emulator uses."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import docker
import pytest
import requests
from docker.errors import APIError, ImageNotFound, NotFound

from .conftest import Cloud, free_port, wait_for

IMAGE = "lisa/test:local"


@pytest.fixture
def cloud(cloud_folder: Cloud) -> Cloud:
    cloud_folder.start("engine", AWS_ACCESS_KEY_ID="callers", CALLERS="own")
    return cloud_folder


@pytest.fixture
def engine(cloud: Cloud) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=f"unix://{cloud.home}/engine.sock", timeout=30)
    yield client
    client.close()


def run(engine: docker.DockerClient, *, ready: float | None = 10, path: str | None = None, **options):
    port = free_port()
    labels = options.pop("labels", {})
    if ready is not None:
        labels |= {"lisa.ready-port": str(port), "lisa.ready-seconds": str(ready)}
    if path:
        labels["lisa.ready-path"] = path
    environment = {"PORT": str(port)} | options.pop("environment", {})
    container = engine.containers.run(IMAGE, detach=True, labels=labels, environment=environment, **options)
    container.reload()
    address = container.attrs["NetworkSettings"]["Networks"]["lisa"]["IPAddress"]
    return container, f"http://{address}:{port}"


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_start_answers_once_the_port_does(engine: docker.DockerClient) -> None:
    container, url = run(engine, environment={"DELAY": "1"}, name="web")
    assert requests.get(url, timeout=5).status_code == 200
    assert (container.name, container.status) == ("web", "running")


def test_a_start_waits_for_the_health_path_if_there_is_one(engine: docker.DockerClient, tmp_path) -> None:
    sick = tmp_path / "sick"
    sick.touch()
    started = time.monotonic()
    run(engine, ready=2, path="/health", environment={"SICK": str(sick)})
    assert 2 <= time.monotonic() - started < 5  # it gave up waiting, and left the container running
    sick.unlink()
    started = time.monotonic()
    run(engine, ready=20, path="/health", environment={"SICK": str(sick)})
    assert time.monotonic() - started < 5


def test_a_start_answers_at_once_when_the_process_ends(engine: docker.DockerClient) -> None:
    started = time.monotonic()
    container, _ = run(engine, ready=30, environment={"EXIT": "65"})
    assert time.monotonic() - started < 10
    assert container.wait(timeout=5)["StatusCode"] == 65
    assert container.logs() == b"bad weights\n"


def test_a_container_sees_only_its_own_environment(engine: docker.DockerClient, cloud: Cloud) -> None:
    _, url = run(engine, environment={"ITS": "own"})
    seen = requests.get(url + "/env", timeout=5).json()
    assert (seen["ITS"], seen["FROM_IMAGE"]) == ("own", "yes")
    assert url == f"http://{seen['HOST']}:{seen['PORT']}"
    assert seen["LISA_WEIGHTS_DIR"] == str(cloud.home / "weights")
    assert "CALLERS" not in seen
    assert "AWS_ACCESS_KEY_ID" not in seen


def test_each_container_has_an_address_that_was_not_used_before(
    engine: docker.DockerClient, cloud: Cloud
) -> None:
    addresses = []
    for _ in range(2):
        for _ in range(3):
            container, url = run(engine, ready=None)
            addresses.append(url.split(":")[1])
            container.remove(force=True)
        cloud.stop("engine")
        cloud.start("engine")
    assert len(set(addresses)) == 6


def test_a_stop_kills_after_the_time_given_by_who_is_in_a_hurry(engine: docker.DockerClient) -> None:
    container, _ = run(engine, environment={"IGNORE_TERM": "1"}, labels={"lisa.stop-seconds": "60"})
    started = time.monotonic()
    container.stop(timeout=2)
    assert 1.9 < time.monotonic() - started < 5
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 137
    assert not container.attrs["State"]["OOMKilled"]  # it was us


def test_a_stop_gives_the_time_that_the_definition_says(engine: docker.DockerClient) -> None:
    container, _ = run(engine, environment={"IGNORE_TERM": "1"}, labels={"lisa.stop-seconds": "7"})
    started = time.monotonic()
    container.stop(timeout=5)
    assert 6.9 < time.monotonic() - started < 10


def test_a_kill_from_outside_is_reported_as_want_of_memory(engine: docker.DockerClient) -> None:
    container, _ = run(engine)
    os.kill(container.attrs["State"]["Pid"], 9)
    assert container.wait(timeout=5)["StatusCode"] == 137
    container.reload()
    assert container.attrs["State"]["OOMKilled"]


def test_logs_are_followed_to_their_end_in_whole_lines(engine: docker.DockerClient) -> None:
    container, url = run(engine)
    for _ in range(3):
        requests.get(url + "/page", timeout=5)
    stream = container.logs(stream=True, follow=True)
    first = next(iter(stream))
    assert first.endswith(b"\n")
    requests.get(url + "/last", timeout=5)
    container.stop(timeout=1)
    assert b"request /last\n" in first + b"".join(stream)
    assert container.logs(tail=1) == b"request /last\n"
    assert container.logs(tail=2) == b"request /page\nrequest /last\n"


def test_names_images_and_containers_that_do_not_fit_are_refused(engine: docker.DockerClient) -> None:
    run(engine, ready=None, name="one")
    with pytest.raises(APIError, match="already in use"):
        run(engine, ready=None, name="one")
    with pytest.raises(ImageNotFound, match="lisa/test:local"):
        engine.containers.run("lisa/other:local", detach=True)
    with pytest.raises(NotFound):
        engine.containers.get("nothing")
    with pytest.raises(APIError, match="is running"):
        engine.containers.get("one").remove()


def test_an_image_pulled_by_tag_starts_by_digest(engine: docker.DockerClient) -> None:
    digest = engine.images.get_registry_data(IMAGE).id
    engine.images.pull("lisa/test", tag=digest).tag("lisa/test", tag="local")
    engine.containers.run(f"lisa/test@{digest}", detach=True, environment={"PORT": str(free_port())})


def test_labels_select_containers(engine: docker.DockerClient) -> None:
    run(engine, ready=None, labels={"team": "a"})
    other, _ = run(engine, ready=None, labels={"team": "b"})
    assert [each.id for each in engine.containers.list(filters={"label": ["team=b"]})] == [other.id]
    assert len(engine.containers.list(filters={"label": "team"})) == 2
    other.stop(timeout=1)
    assert len(engine.containers.list(filters={"label": "team"})) == 1
    assert len(engine.containers.list(all=True, filters={"label": "team"})) == 2


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_no_process_outlives_the_engine(engine: docker.DockerClient, cloud: Cloud, end: str) -> None:
    # Given: a container, and a child of it that left its process group
    container, url = run(engine)
    pid, child = container.attrs["State"]["Pid"], int(requests.get(url + "/children", timeout=5).text)
    assert alive(pid)
    assert alive(child)
    # When
    getattr(cloud, end)("engine")
    # Then
    wait_for(lambda: not alive(pid), "the container to end", 5)
    cloud.start("engine")
    wait_for(lambda: not alive(child), "its child to end", 5)
    assert engine.containers.list(all=True) == []


def test_clear_removes_everything(engine: docker.DockerClient, cloud: Cloud) -> None:
    container, url = run(engine)
    pid, child = container.attrs["State"]["Pid"], int(requests.get(url + "/children", timeout=5).text)
    session = engine.api
    assert session.post(session.base_url + "/_lisa/clear").json() == {"removed": 1}
    assert not alive(pid)
    assert not alive(child)
    assert session.get(session.base_url + "/_lisa/containers").json() == []
