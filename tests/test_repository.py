"""What lies in the repository: notebooks without outputs, no unsafe loading, no machine's paths, no heavy files."""

import re
import subprocess
from pathlib import Path

import nbformat
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
HEAVIEST, HEAVIEST_WEIGHTS = 2_000_000, 12_000_000
# Written in pieces, so that this file does not find itself.
UNSAFE = {
    "torch." + "load(": "weights are safetensors",
    "import pick" + "le": "nothing is pickled",
    "read_pick" + "le(": "tables are CSV",
    "to_pick" + "le(": "tables are CSV",
    "yaml." + "load(": "yaml.safe_load reads no code",
    "allow_pick" + "le=True": "arrays hold numbers only",
    "os." + "system(": "subprocess.run with a list needs no shell",
    "shell=" + "True": "subprocess.run with a list needs no shell",
}
MACHINE_PATHS = re.compile(r"(?<![\w./])/(?:work|tmp|home|root|Users|mnt)/\w")


def files() -> list[Path]:
    """Every file that git has or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is not a git repository, so what belongs to it is not known")
    return [path for name in listed.split("\0") if name and (path := REPOSITORY / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    """All text files with their content."""
    suffixes = {".py", ".md", ".ipynb", ".toml", ".yml", ".yaml", ".cff", ".txt", ".bib", ".css", ".json", ".csv", ".svg", ""}
    return [(path, path.read_text()) for path in files() if path.suffix in suffixes]


def named(path: Path) -> str:
    """A path as the repository knows it."""
    return path.relative_to(REPOSITORY).as_posix()


def notebooks() -> list[Path]:
    """The stored notebooks."""
    return sorted((REPOSITORY / "ablations").glob("*.ipynb"))


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_notebook_is_a_clean_template(path: Path) -> None:
    """No outputs, no counts, one cell tagged `parameters`, and the kernel that every environment has."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells, "the notebook has no code"
    assert not any(cell.outputs for cell in cells), "stored with outputs: run nbstripout"
    assert all(cell.execution_count is None for cell in cells), "stored with execution counts: run nbstripout"
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1 and tagged[0].cell_type == "code", f"{len(tagged)} cells are tagged `parameters`; papermill needs one"
    assert notebook.metadata.kernelspec.name == "python3"


# Other projects publish `.pth` files; read like this they build tensors and plain containers and refuse everything else.
TENSORS_ONLY = re.compile(r"torch\.load\([^()\n]*, weights_only=True\)")


def test_nothing_unsafe_is_used() -> None:
    """Code that could run what a downloaded file says is not used anywhere."""
    found = [
        f"{named(path)}: {needle} ({reason})"
        for path, text in texts()
        if path.suffix in {".py", ".ipynb"} or path.parent.name == "book"
        for needle, reason in UNSAFE.items()
        if needle in TENSORS_ONLY.sub("", text) and path != Path(__file__)
    ]
    assert not found, "\n".join(found)


def test_no_path_of_one_machine() -> None:
    """An absolute path works for one person only."""
    found = [
        f"{named(path)}:{number}: {line.strip()[:120]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATHS.search(line) and path != Path(__file__)
    ]
    assert not found, "\n".join(found)


def test_files_are_light() -> None:
    """A clone stays quick: weights under 12 MB, everything else under 2 MB."""
    heavy = [
        f"{named(path)}: {path.stat().st_size / 1e6:.1f} MB"
        for path in files()
        if path.stat().st_size > (HEAVIEST_WEIGHTS if path.suffix == ".safetensors" else HEAVIEST)
    ]
    assert not heavy, "\n".join(heavy)


def test_nothing_is_left_to_do() -> None:
    """An unfinished place is an issue, not a comment."""
    marks = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
    found = [f"{named(path)}: {match[0]}" for path, text in texts() if path.suffix == ".py" for match in marks.finditer(text)]
    assert not found, "\n".join(found)


def test_every_module_says_what_it_is() -> None:
    """A module with code opens with a docstring; an empty `__init__.py` needs none."""
    modules = [*(REPOSITORY / "causalpose").rglob("*.py"), *(REPOSITORY / "tools").rglob("*.py")]
    silent = [named(path) for path in modules if (text := path.read_text().strip()) and not text.startswith(('"""', 'r"""'))]
    assert not silent, f"these modules have no docstring: {silent}"


def test_links_of_the_front_page_exist() -> None:
    """Every file that README.md and CONTRIBUTING.md link to is there."""
    for name in ("README.md", "CONTRIBUTING.md"):
        links = re.findall(r"\]\(([^)#\s]+)\)", (REPOSITORY / name).read_text())
        missing = [link for link in links if "://" not in link and not (REPOSITORY / link).exists()]
        assert not missing, f"{name} links to {missing}"
