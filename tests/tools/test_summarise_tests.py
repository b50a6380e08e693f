"""The closing line counts every test once, and a report of no test is an error."""

from pathlib import Path

import pytest

from tools.summarise_tests import summary


def test_counts(tmp_path: Path) -> None:
    """10 tests: 1 failure, 1 error, 2 skipped leave 6 passed."""
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite tests="10" failures="1" errors="1" skipped="2"/></testsuites>')
    assert summary(report) == "6 passed, 2 failed, 2 skipped"


def test_no_test_is_an_error(tmp_path: Path) -> None:
    """An empty run must not look like a good one."""
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite tests="0" failures="0" errors="0" skipped="0"/></testsuites>')
    with pytest.raises(SystemExit, match="no test"):
        summary(report)
