"""Print the closing line of a JUnit report: how many tests passed, failed and were skipped."""

import sys
from pathlib import Path
from xml.etree import ElementTree


def summary(report: Path) -> str:
    """`N passed, N failed, N skipped`; errors count as failed. A report without a test is an error."""
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    counts = [{name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")} for suite in suites]
    tests, failures, errors, skipped = (sum(count[name] for count in counts) for name in ("tests", "failures", "errors", "skipped"))
    if tests == 0:
        raise SystemExit(f"error: {report} records no test")
    failed = failures + errors
    return f"{tests - failed - skipped} passed, {failed} failed, {skipped} skipped"


if __name__ == "__main__":
    print(summary(Path(sys.argv[1])))
