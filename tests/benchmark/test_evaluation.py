"""The evaluator's benchmark: its columns, the loop beside it, and that both say the same."""

from causalpose.benchmark.evaluation import COLUMNS, evaluation_benchmark


def test_rows_and_agreement():
    table = evaluation_benchmark(sequences=3, frames=4, compared=1, turns=1)
    assert tuple(table.columns) == COLUMNS and len(table) == 3 and (table.section == "evaluation").all()
    assert (table.value[:2] > 0).all() and table.reference[1] > 0
    assert table.value[2] < 1e-9 and "12 frames" in table.case[0]


def test_without_the_tests_there_is_no_loop(monkeypatch, tmp_path):
    monkeypatch.setattr("causalpose.__file__", str(tmp_path / "causalpose" / "__init__.py"))
    assert len(evaluation_benchmark(sequences=1, frames=2, turns=1)) == 1
