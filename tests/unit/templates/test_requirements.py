"""What is installed is what was looked at: every package by version and hash."""

import re

import pytest

from tests.unit.templates.application import ROOT

LOCKS = sorted(
    path for path in (ROOT / "requirements").glob("*.txt") if not path.name.startswith("overrides-")
)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_package_is_pinned_by_its_hash(path):
    text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    entries = [entry for entry in re.sub(r"\\\n", " ", text).splitlines() if entry.strip()]
    assert entries
    for entry in entries:
        assert re.match(r"\s*--|[\w.\-\[\],]+\s*==\s*[\w.+!]+", entry), entry
        assert entry.lstrip().startswith("--") or "--hash=sha256:" in entry, entry
