"""The front page's results come from the recorded files, and only from them."""

import gzip
from pathlib import Path

import pytest

from tools import readme_table

HEADER = "study,variant,seed,dataset,condition,joint,metric,value\n"
README = f"before\n{readme_table.BEGIN}\nformer text\n{readme_table.END}\nafter\n"


def record(folder: Path) -> Path:
    """The place of the record of a study `aux`."""
    (folder / "aux").mkdir()
    return folder / "aux" / "results.csv.gz"


def test_readme_is_up_to_date(repository: Path) -> None:
    """What stands in README.md is what the program would write."""
    text = (repository / "README.md").read_text()
    assert text == readme_table.filled(text, repository / "ablations" / "results"), "run `make readme`"


def test_without_results_it_says_so(tmp_path: Path) -> None:
    """An empty folder gives a sentence, not an empty table; what is around the block stays."""
    filled = readme_table.filled(README, tmp_path)
    assert readme_table.NOTHING in filled and "former text" not in filled
    assert filled.startswith("before\n") and filled.endswith("\nafter\n")


def test_table_of_two_seeds(tmp_path: Path) -> None:
    """Seeds 50 and 60 give 55.0 (50.0 to 60.0); other joints and measures do not count; a missing cell is a dash."""
    lines = [
        "aux,none,0,scenes,clean,mean,PCK@0.2,50.0",
        "aux,none,1,scenes,clean,mean,PCK@0.2,60.0",
        "aux,none,0,scenes,clean,nose,PCK@0.2,99.0",
        "aux,none,0,scenes,clean,mean,PCK@0.1,99.0",
        "aux,both,0,scenes,occluded,mean,PCK@0.2,25.0",
    ]
    record(tmp_path).write_bytes(gzip.compress((HEADER + "\n".join(lines) + "\n").encode()))
    block = readme_table.block(tmp_path)
    assert "| none | 55.0 (50.0 to 60.0) | – |" in block
    assert "| both | – | 25.0 |" in block
    assert "99" not in block


def test_wrong_columns_and_missing_markers_are_errors(tmp_path: Path) -> None:
    """A file of another form, or a README without the block, stops the program."""
    record(tmp_path).write_bytes(gzip.compress(b"variant,value\n"))
    with pytest.raises(SystemExit, match=r"aux.results\.csv\.gz lacks the column 'study'"):
        readme_table.block(tmp_path)
    with pytest.raises(SystemExit, match="markers"):
        readme_table.filled("no block", tmp_path)
