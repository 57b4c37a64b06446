"""One OpenSearch node for the tests of a session, where Java and Maven are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lisa_local.component import ComponentError
from lisa_local.opensearch import programs
from lisa_local.opensearch.node import Node

# A start costs half as much without the second compiler, which a short life does not repay.
QUICK = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}


def missing() -> str:
    """What OpenSearch lacks here, as a sentence; empty where it runs."""
    try:
        programs.require_tools()
    except ComponentError as error:
        return str(error)
    return ""


def running_node(folder: Path) -> Iterator[str]:
    """The URL of a node whose data lies in `folder`; skips the test, saying why, where there is no Java."""
    if missing():
        pytest.skip(f"OpenSearch was left out: {missing()}")
    node = Node(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", QUICK["JAVA_TOOL_OPTIONS"])
        node.start()
    try:
        node.wait_until_ready()
        yield node.url
    finally:
        node.stop()
