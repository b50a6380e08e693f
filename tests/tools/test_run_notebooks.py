"""The notebook runner hands over what a notebook declares, and stops at a name that it does not."""

from pathlib import Path

import nbformat
import pytest

from tools import run_notebooks


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook that takes `scale` and `seed`, and fails for seed 13."""
    parameters = nbformat.v4.new_code_cell('scale = "smoke"\nseed = 0')
    parameters.metadata["tags"] = ["parameters"]
    book = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell("assert seed != 13\nprint(scale, seed)")])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "study.ipynb"
    nbformat.write(book, path)
    return path


def test_parameters_are_those_declared(notebook: Path) -> None:
    """A declared name becomes an argument; an unknown one is an error that lists the known ones."""
    assert run_notebooks.parameters(notebook, {"scale": "book", "seed": "3"}) == ["-p", "scale", "book", "-p", "seed", "3"]
    with pytest.raises(SystemExit, match="declares no parameter sede; it has: scale, seed"):
        run_notebooks.parameters(notebook, {"sede": "3"})


def test_parameters_arrive(notebook: Path, tmp_path: Path) -> None:
    """The executed copy prints what was asked for; a failing cell stops the runner."""
    out = tmp_path / "runs" / "study.ipynb"
    run_notebooks.run(notebook, {"scale": "book", "seed": "7"}, out, minutes=2)
    printed = [output.text for cell in nbformat.read(out, as_version=4).cells for output in cell.get("outputs", [])]
    assert "book 7\n" in printed
    with pytest.raises(SystemExit, match=r"study\.ipynb failed"):
        run_notebooks.run(notebook, {"seed": "13"}, out, minutes=2)


def test_unknown_study() -> None:
    """A misspelt study ends with one line."""
    with pytest.raises(SystemExit, match="^error: "):
        run_notebooks.chosen("no_such_study")


def test_a_study_takes_the_seed_as_its_seeds(tmp_path: Path) -> None:
    """`make ablations SEED=4` reaches notebooks that call the parameter `seeds`, and those that call it `seed`."""
    for name in ("seed", "seeds"):
        cell = nbformat.v4.new_code_cell(f"{name} = 0")
        cell.metadata["tags"] = ["parameters"]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), tmp_path / f"{name}.ipynb")
        assert run_notebooks.seed_of(tmp_path / f"{name}.ipynb", "4") == {name: "4"}
        assert run_notebooks.seed_of(tmp_path / f"{name}.ipynb", None) == {}
