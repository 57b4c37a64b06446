"""Adds up the test reports and the static gates: the closing line of a CI run, and its exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

GATES = 5


def main(tests_exit: int, failed_gates: int, reports: list[Path]) -> int:
    total = failed = skipped = 0
    for report in reports:
        if not report.exists():
            continue
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):  # noqa: S314 - written by our own run
            total += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
    # A run that broke down without a report has failed, whatever it counted.
    if tests_exit and not failed:
        failed, total = failed + 1, total + 1
    passed = total - failed - skipped + GATES - failed_gates
    failed += failed_gates
    print(
        f"{passed} passed, {failed} failed, {skipped} skipped"
        if skipped
        else f"{passed} passed, {failed} failed"
    )
    return 1 if failed or total == 0 else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), [Path(argument) for argument in sys.argv[3:]]))
