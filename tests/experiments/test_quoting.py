"""Numbers on a page, confronted with the records that they were read from."""

from pathlib import Path

import pandas as pd
import pytest

from causalpose.experiments import quoting, records, telling
from causalpose.experiments.quoting import faults, quoted, shown, unquoted

WHERE = {"variant": "a & b", "metric": "PCK@0.2"}


@pytest.fixture
def results(tmp_path) -> Path:
    folder = tmp_path / "study" / "book"
    folder.mkdir(parents=True)
    rows = [WHERE | {"mean": -0.04, "low": -1.25}, WHERE | {"variant": "c", "mean": 2.0, "low": 1.0}]
    pd.DataFrame(rows).to_csv(folder / "comparisons.csv", index=False)
    quoting._table.cache_clear()
    quoting._rows.cache_clear()
    return tmp_path


def page(value=-1.25, column="low", where=None, source="study/book/comparisons.csv") -> str:
    return f"<p>between {quoted(source, where or WHERE, column, value, '.1f')} and 3</p>"


def test_a_number_that_is_the_records_passes(results):
    assert list(faults(page(), results)) == []
    ((facts, text),) = unquoted(page())
    assert text == "-1.2" and facts["value"] == "-1.25"


def test_what_rounds_to_zero_has_no_sign(results):
    assert shown(-0.04, "+.1f") == "0.0"
    assert list(faults(page(-0.04, "mean"), results)) == []


def test_a_tampered_page_is_found(results):
    (fault,) = faults(page().replace(">-1.2<", ">1.2<"), results)
    assert "says '1.2'" in fault and "'-1.2'" in fault


def test_every_number_of_a_page_is_read_wherever_it_stands(results):
    """Across lines, in a table, with marks inside and with other elements between; a `data` element of somebody else is none of ours."""
    one = page().removeprefix("<p>").removesuffix("</p>")
    text = f"<table><tr><td>{one.replace('<data ', '<data' + chr(10))}</td></tr></table><data value='1'>1</data><p>{one}</p>"
    text += one.replace(">-1.2<", "><b>-1.2</b><")
    assert [shown for _, shown in unquoted(text)] == ["-1.2"] * 3 and not list(faults(text, results))


def test_a_changed_record_is_found(results):
    table = results / "study" / "book" / "comparisons.csv"
    table.write_text(table.read_text().replace("-1.25", "-1.5"))
    (fault,) = faults(page(), results)
    assert "'-1.5'" in fault


@pytest.mark.parametrize(
    "wrong, part",
    [
        ({"where": WHERE | {"variant": "d"}}, "0 rows"),
        ({"where": {"metric": "PCK@0.2"}}, "2 rows"),
        ({"where": {"arm": "c"}}, "no column arm"),
        ({"column": "median"}, "no column median"),
        ({"source": "other/book/comparisons.csv"}, "not there"),
    ],
)
def test_a_number_without_its_row_is_found(results, wrong, part):
    (fault,) = faults(page(**wrong), results)
    assert part in fault


def test_the_words_of_a_recorded_study_quote_their_record():
    results = Path(__file__).parents[2] / "ablations" / "results"
    compared = records.read(results / "tcis" / "book").comparisons
    row = telling.comparison(compared, "random")
    text = telling.told(row)
    assert len(unquoted(text)) == 3 and not list(faults(text, results))
    other = telling.told(row.replace({row["mean"]: row["mean"] + 1}))
    (fault,) = faults(other, results)
    assert telling.shown(row["mean"], "+.1f") in fault
