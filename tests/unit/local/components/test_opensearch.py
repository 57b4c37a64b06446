"""OpenSearch: comes up, keeps its data through a crash, leaves nothing behind, and says what it lacks."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
from lisa_local import processes
from lisa_local.component import ComponentError
from lisa_local.opensearch import programs

from tests.opensearch import QUICK, missing

from .conftest import Cloud, wait_for

needs_java = pytest.mark.skipif(bool(missing()), reason=missing() or "never")


def ask(cloud: Cloud, method: str, path: str, body: object = None) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{cloud.ports['opensearch']}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def servers(cloud: Cloud) -> list[int]:
    mark = f"-Dlisa.data={cloud.home / 'opensearch'}"
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if mark in (process.info["cmdline"] or ()) and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found


def run_component(cloud: Cloud, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the component to its end, which should come by itself."""
    return subprocess.run(
        [sys.executable, "-m", "lisa_local.opensearch", str(cloud.home)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_java
@pytest.mark.timeout(600)
def test_a_node_through_stops_and_kills(cloud_folder: Cloud) -> None:
    """One test, for each start takes seconds."""
    programs.prepare()
    cloud = cloud_folder
    # Given a node with a vector in it
    cloud.start("opensearch", **QUICK)
    assert ask(cloud, "GET", "/")["version"]["number"] == programs.VERSION
    method = {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"}
    vector = {"type": "knn_vector", "dimension": 2, "method": method}
    ask(cloud, "PUT", "/t", {"settings": {"index.knn": True}, "mappings": {"properties": {"v": vector}}})
    ask(cloud, "PUT", "/t/_doc/1?refresh=true", {"v": [1, 0]})

    # It listens on loopback alone, and its data is closed to others
    (server,) = servers(cloud)
    assert {each.address for each in processes.listeners({server})} <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert stat.S_IMODE((cloud.home / "opensearch").stat().st_mode) & 0o077 == 0

    # The server ends with its component
    cloud.kill("opensearch")
    wait_for(lambda: not servers(cloud), "the server to end", 40)

    # One that could not, for it was suspended, makes room for the next; what was written is there again
    cloud.start("opensearch", **QUICK)
    (server,) = servers(cloud)
    os.kill(server, signal.SIGSTOP)
    cloud.kill("opensearch")
    cloud.start("opensearch", **QUICK)
    assert server not in servers(cloud)
    found = ask(cloud, "POST", "/t/_search", {"query": {"knn": {"v": {"vector": [1, 0], "k": 1}}}})
    assert [hit["_id"] for hit in found["hits"]["hits"]] == ["1"]

    # A stop leaves nothing
    assert cloud.stop("opensearch") == 0
    assert servers(cloud) == []


def test_the_component_ends_when_its_server_does(
    cloud_folder: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a server that answers and then ends by itself
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    programs.home().mkdir(parents=True)
    _script(
        tmp_path / "bin" / "java", "[ $1 = -version ] && echo 'version \"17.0.2\"' >&2 || echo listening 1"
    )
    _script(tmp_path / "bin" / "javac", "exit 1")

    # When
    result = run_component(cloud_folder, JAVA_HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))

    # Then
    assert result.returncode == 1
    assert "the server ended by itself with code 0" in result.stderr


@needs_java
def test_a_taken_port_is_said(cloud_folder: Cloud) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", cloud_folder.ports["opensearch"]))
        taken.listen()
        result = run_component(cloud_folder)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last == f"opensearch: port {cloud_folder.ports['opensearch']} is taken: choose another."


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_missing_java_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ComponentError, match=r"there is no java on the PATH: install one .* OPENSEARCH_URL"):
        programs.require_tools()


def test_an_old_java_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _script(tmp_path / "bin" / "java", """echo 'openjdk version "11.0.2" 2019-01-15' >&2""")
    _script(tmp_path / "bin" / "javac", "exit 1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ComponentError, match=r"Java 17 or newer, and .*bin/java is version 11"):
        programs.require_tools()


def test_missing_maven_is_said_where_nothing_was_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _script(tmp_path / "bin" / "java", """echo 'openjdk version "17.0.2"' >&2""")
    _script(tmp_path / "bin" / "javac", "exit 1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(programs.shutil, "which", _without("mvn"))
    with pytest.raises(ComponentError, match="there is no mvn on the PATH"):
        programs.require_tools()


def _without(name: str) -> Any:
    real = programs.shutil.which
    return lambda asked, **options: None if asked == name else real(asked, **options)


def test_a_file_that_is_not_the_agreed_one_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a Maven that brings something else
    written = [
        f"mkdir -p $FOLDER/{item.folder} && echo other > $FOLDER/{item.path}" for item in programs.artifacts()
    ]
    _script(
        tmp_path / "bin" / "mvn",
        'for FOLDER in "$XDG_CACHE_HOME"/lisa/partial-*/home; do\n' + "\n".join(written) + "\ndone",
    )
    _script(tmp_path / "bin" / "java", """echo 'openjdk version "17.0.2"' >&2""")
    _script(tmp_path / "bin" / "javac", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    # When
    with pytest.raises(ComponentError, match=r"is not the file that artifacts\.txt names"):
        programs.prepare()

    # Then nothing is left that a later start would take for a node
    assert [path.name for path in (tmp_path / "cache" / "lisa").iterdir()] == ["opensearch.lock"]
