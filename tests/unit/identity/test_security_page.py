"""`docs/security.md` names for each rule a test that is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_rule_names_what_holds_it():
    rows = [
        line
        for line in PAGE.splitlines()
        if line.startswith("| ") and not line.startswith(("| rule", "| ---"))
    ]
    assert rows
    for row in rows:
        assert row.split("|")[3].strip(), f"no test: {row}"


def test_every_test_that_is_named_is_there():
    missing = [name for name in re.findall(r"`(tests/[^`]+)`", PAGE) if not (ROOT / name).exists()]
    assert missing == []
