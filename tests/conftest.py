"""The local cloud of integration and end-to-end tests: started once for the run, stopped at its end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud import ROOT, TestCloud, new_cloud


@pytest.fixture(scope="session")
def cloud() -> Iterator[TestCloud]:
    """A running local cloud, never the one of `make up`.

    LISA_TEST_HOME=DIR names a running one instead, which is left running: for working on one test.
    """
    given = os.environ.get("LISA_TEST_HOME")
    if given:
        running = TestCloud(Path(given).absolute())
        assert running.control.status(), (
            f"no local cloud runs in {given}: LISA_HOME={given} .venv/bin/lisa up"
        )
        yield running
        return
    path = ROOT / ".test" / "cloud"
    TestCloud(path).lisa("down")  # what an interrupted run left
    shutil.rmtree(path, ignore_errors=True)
    started = new_cloud(path)
    try:
        started.up()
        yield started
    finally:
        started.lisa("down")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first waits for the whole cloud to start."""
    for item in items:
        if "cloud" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(900))
