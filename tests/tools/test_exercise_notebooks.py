"""One source, two notebooks: what is cut, what stays, and which mistakes of an author are caught."""

import nbformat
import pytest

from tools import exercise_notebooks as made

FRONT = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A chapter

Some {doc}`other-page` and a source {footcite:p}`key2020`.

```{code-cell} ipython3
given = 3
```

"""
EXERCISE = """:::{exercise} Doubling
:label: toy-doubling

Double it.
:::

"""
SOLVED = """:::{solution-start} toy-doubling
:class: dropdown
:::

Multiply by two.

```{code-cell} ipython3
# put the double of `given` into `double`
# solution
double = 2 * given_by_me
# check
assert double == 6
```

:::{solution-end}
:::

## Limits

None.
"""


def chapter(solution: str = SOLVED) -> str:
    return FRONT + EXERCISE + solution.replace("given_by_me", "given + 0")


def test_the_student_sees_the_task_and_the_check_but_not_the_answer() -> None:
    student, solved = made.split(chapter())
    text = "\n".join(cell.source for cell in student.cells)
    assert "Double it." in text and "assert double == 6" in text and "put the double" in text and "None." in text
    assert "2 * given" not in text and "Multiply by two" not in text
    assert 'raise NotImplementedError("exercise toy-doubling")' in text
    everything = "\n".join(cell.source for cell in solved.cells)
    assert "2 * given" in everything and "Multiply by two" in everything and "NotImplementedError" not in everything
    assert not any(mark in text + everything for mark in ("{exercise}", "{solution-", "footcite", "{doc}"))
    nbformat.validate(student)


def test_a_stub_keeps_the_indentation() -> None:
    source = "def mean(x):\n    total = sum(x)\n    # solution\n    return total / len(x)\n# check\nassert mean([1, 3]) == 2"
    stub = made.stub(source, "a")
    assert "total = sum(x)" in stub and "return" not in stub
    with pytest.raises(NotImplementedError, match="exercise a"):
        exec(stub)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (chapter().replace("# check\n", ""), "no line `# check`"),
        (chapter().replace(":label: toy-doubling\n", ""), "no :label:"),
        (chapter().replace("{solution-start} toy-doubling", "{solution-start} toy-tripling"), "no exercise of that label"),
        (chapter().replace(":::{solution-end}\n:::\n", ""), "never ends"),
        (chapter().replace("# solution\n", ""), "no solution with a code cell"),
        (FRONT + EXERCISE, "no solution with a code cell"),
        (FRONT + EXERCISE + EXERCISE + SOLVED, "share a label"),
        (chapter().replace("Double it.", "Double it.\n\n    double = 2 * given + 0"), "shows lines of a solution"),
    ],
    ids=["no check", "no label", "wrong label", "no end", "no solution mark", "no solution", "twice", "leak"],
)
def test_an_authors_mistake_is_a_fault(broken: str, message: str) -> None:
    with pytest.raises(made.Fault, match=message):
        made.split(broken, "toy")


@pytest.mark.slow
def test_running_a_students_notebook() -> None:
    """As handed out only the stub raises; a chapter that fails on its own, or a solution that fails its check, is reported."""
    student, solved = made.split(chapter())
    assert made.run_student(student) == []
    broken, _ = made.split(chapter().replace("given = 3", "given = missing"))
    assert any("NameError" in fault for fault in made.run_student(broken))
    _, wrong = made.split(chapter(SOLVED.replace("2 * given_by_me", "3 * given")))
    assert any("AssertionError" in fault for fault in made.run_student(wrong))
    assert made.run_student(solved) == []


@pytest.mark.slow
def test_running_several_reports_every_fault_with_its_chapter(tmp_path, capsys) -> None:
    """A kernel that dies is a fault of its own chapter, and the others are run all the same."""
    dies = chapter().replace("given = 3", "import os; os._exit(1)")
    texts = {"good": chapter(), "dies": dies, "broken": chapter().replace("given = 3", "given = missing")}
    files = {}
    for name, text in texts.items():
        files[name] = tmp_path / f"{name}-student.ipynb"
        nbformat.write(made.split(text)[0], files[name])
    faults = made.run_students(files)
    assert any(fault.startswith("dies: DeadKernelError") for fault in faults) and any(fault.startswith("broken: ") for fault in faults)
    assert not any(fault.startswith("good") for fault in faults) and "good" in capsys.readouterr().out


def test_every_chapter_of_the_book_obeys(tmp_path) -> None:
    """Each of the book's own chapters splits, deterministically, and has no text that only Sphinx understands in its exercises."""
    first, second = made.write(tmp_path / "a"), made.write(tmp_path / "b")
    assert first
    for name, files in first.items():
        for one, other in zip(files, second[name], strict=True):
            assert one.read_bytes() == other.read_bytes()
        student = nbformat.read(files[0], as_version=4)
        assert not any("{exercise}" in cell.source or "{solution" in cell.source for cell in student.cells)
        assert all("NotImplementedError" in cell.source for cell in student.cells if "exercise" in cell.metadata)


def test_chapters_have_four_exercises_or_more() -> None:
    for path in made.chapters():
        count = len(made.EXERCISE.findall(path.read_text()))
        assert count == 0 or count >= 4, f"{path.name} has {count} exercises"


def test_an_exercise_shows_its_title_and_none_of_its_options() -> None:
    """Label and class are for Sphinx; a line of the text that looks like one stays."""
    text = made.plain(":::{exercise} One\n:label: a-one\n:class: goal-2\n\nCount.\n\n:not: an option\n:::\n")
    assert text.split() == ["###", "Exercise:", "One", "Count.", ":not:", "an", "option"]
