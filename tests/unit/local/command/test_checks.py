"""What is in the way of a local cloud is said in one sentence, with the mend."""

from __future__ import annotations

import json
import os
import socket

import pytest
from lisa_local.bringup import checks
from lisa_local.config import Config, OpenSearch, Ports, claim_loopback_block, free_loopback_block
from lisa_local.console import Problem
from lisa_local.home import Home


@pytest.fixture
def taken_port() -> socket.socket:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken


def test_a_taken_port_names_its_holder_and_the_mend(taken_port: socket.socket) -> None:
    # Given
    port = taken_port.getsockname()[1]
    config = Config("0a1b2c3d", 10, Ports(door=port, emulator=1, postgres=2))

    # When
    with pytest.raises(Problem) as raised:
        checks.require(checks.ports(config, owned=set()))

    # Then
    assert f"Port {port}: in use by process {os.getpid()}" in str(raised.value)
    assert f"LISA_PORT={port + 10} make up" in str(raised.value)


def test_a_port_of_ours_is_not_in_the_way(taken_port: socket.socket) -> None:
    config = Config("0a1b2c3d", 10, Ports(door=taken_port.getsockname()[1], emulator=1, postgres=2))
    checks.require(checks.ports(config, owned={os.getpid()}))


def test_a_full_disk_is_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "NEEDED_DISK", 10**18)
    with pytest.raises(Problem, match=r"Disk: .* GB free at .*; free at least .* or set LISA_HOME"):
        checks.require([checks.disk(home)])


def test_a_missing_environment_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ENVIRONMENTS", (".venvs/none/bin/sam",))
    with pytest.raises(Problem, match=r"\.venvs/none/bin/sam missing; run `make setup`"):
        checks.require([checks.tools()])


@pytest.mark.parametrize("version", [(3, 10, 1), (3, 14, 0)])
def test_a_wrong_python_is_said(monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...]) -> None:
    monkeypatch.setattr(checks.sys, "version_info", version)
    with pytest.raises(Problem, match=r"Python 3\.11, 3\.12 or 3\.13"):
        checks.require([checks.python()])


def test_a_home_too_long_for_sockets_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISA_HOME", "/tmp/" + "x" * 120)
    with pytest.raises(Problem, match="too long for a socket"):
        Home.locate()


def test_ports_come_from_the_environment_and_are_kept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given
    monkeypatch.setenv("LISA_PORT", "18080")
    first = Config.prepare(home)
    first.write(home)

    # When
    monkeypatch.delenv("LISA_PORT")
    second = Config.prepare(home)

    # Then
    assert second == first
    assert second.url == "http://localhost:18080"


@pytest.mark.parametrize("value", ["eighty", "80", "70000"])
def test_a_port_that_is_none_is_said(home: Home, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LISA_PORT", value)
    with pytest.raises(Problem, match=f"LISA_PORT={value} is no port"):
        Config.prepare(home)


def test_two_running_clouds_have_different_addresses() -> None:
    # Given all blocks but one are held
    claims = {block: claim_loopback_block(block) for block in range(10, 250, 2)}
    last = claims.pop(next(block for block, claim in claims.items() if claim))
    last_block = int(last.getsockname().decode().rsplit("-", 1)[1])
    last.close()

    # Then
    try:
        assert free_loopback_block() == last_block
        assert claim_loopback_block(next(iter(claims))) is None
    finally:
        for claim in claims.values():
            if claim:
                claim.close()


def test_two_commands_do_not_change_one_cloud_at_once(home: Home) -> None:
    with (
        home.command_lock("up"),
        pytest.raises(Problem, match=rf"lisa up \(process {os.getpid()}\)"),
        home.command_lock("down"),
    ):
        pass


def test_configuration_is_readable_by_its_owner_only(home: Home) -> None:
    Config.prepare(home).write(home)
    assert home.config.stat().st_mode & 0o777 == 0o600


def test_opensearch_is_chosen_once_and_remembered(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a node
    monkeypatch.setenv("OPENSEARCH", "1")
    Config.prepare(home).write(home)
    monkeypatch.delenv("OPENSEARCH")
    assert Config.prepare(home).opensearch_url == "http://127.0.0.1:19200"

    # When another is named, with a password
    monkeypatch.setenv("OPENSEARCH_URL", "https://ada:p%40ss@search.example.com:9200/")
    Config.prepare(home).write(home)
    monkeypatch.delenv("OPENSEARCH_URL")

    # Then it takes the node's place, and the password lies apart, closed to others
    later = Config.prepare(home)
    assert (later.opensearch.node, later.opensearch.user) == (False, "ada")
    assert later.opensearch_url == "https://search.example.com:9200"
    assert "p@ss" not in home.config.read_text()
    assert json.loads(home.opensearch.read_text()) == {"password": "p@ss"}
    assert home.opensearch.stat().st_mode & 0o077 == 0

    # When there shall be none
    monkeypatch.setenv("OPENSEARCH", "0")
    assert Config.prepare(home).opensearch_url == ""


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OPENSEARCH": "yes"}, "OPENSEARCH=yes is neither 1 nor 0"),
        ({"OPENSEARCH": "1", "OPENSEARCH_URL": "http://localhost:9200"}, "give one of them"),
        ({"OPENSEARCH_URL": "localhost:9200"}, "OPENSEARCH_URL is no address"),
        ({"OPENSEARCH": "1", "OPENSEARCH_HEAP": "lots"}, "OPENSEARCH_HEAP=lots is no size"),
    ],
)
def test_a_wrong_choice_of_opensearch_is_said(
    home: Home, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Problem, match=said):
        Config.prepare(home)


def test_a_node_without_java_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    config = Config("0a1b2c3d", 10, opensearch=OpenSearch(node=True))
    with pytest.raises(
        Problem, match=r"OpenSearch: it cannot run here; .* there is no java in JAVA_HOME=/nowhere"
    ):
        checks.require(checks.opensearch(config))
    assert checks.opensearch(Config("0a1b2c3d", 10)) == []
