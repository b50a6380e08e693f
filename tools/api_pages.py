"""Write the reference pages of `book/api/`, one a part of the library, from the modules that are there (`make api`).

The pages only name the modules; what they show comes from the docstrings as the book is built. A test says when they are out of date.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY, PAGES = ROOT / "causalpose", ROOT / "book" / "api"
# Parts in the order of their imports, with what each is for.
PARTS = {
    "": ("Ground", "Keypoint sets, the one sample type, configurations and presets."),
    "scenes": ("Scenes", "The structural causal model that renders clips, and its interventions."),
    "data": ("Data", "Real video in the field's formats: reading, checking, converting, cropping, augmenting, corrupting."),
    "model": ("Model", "Embed, mix, select, merge, refine, restore, decode."),
    "weights": ("Weights", "The shipped weights, and published ones from a file."),
    "training": ("Training", "Objective, loop, checkpoints and everything that makes a run resumable."),
    "evaluation": ("Evaluation", "Metrics, statistics and prediction."),
    "explain": ("Explanation", "Token maps, attributions, measured effects and scores."),
    "plotting": ("Plotting", "Every picture of the book."),
    "experiments": ("Experiments", "The ablation grid and its records."),
    "benchmark": ("Benchmarks", "What is fast, against what."),
}
TITLE = {"": "ground"}
NAMES = """(api-names)=
# Every name

The table of all public names is made as the book is built (`book/_ext/library_names.py`).
"""


def source(module: str) -> Path:
    """The file of a module; a package's is its `__init__.py`."""
    path = LIBRARY.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def modules(part: str) -> list[str]:
    """Dotted names of the part's modules that hold something public, those of its subpackages too, in alphabetical order."""
    paths = (LIBRARY / part).rglob("*.py") if part else LIBRARY.glob("*.py")
    found = []
    for path in paths:
        within = path.relative_to(LIBRARY.parent).with_suffix("").parts
        names = within[:-1] if within[-1] == "__init__" else within
        defined = (node for node in ast.parse(path.read_text()).body if isinstance(node, (ast.FunctionDef, ast.ClassDef)))
        if any(not node.name.startswith("_") for node in defined) and not any(name.startswith("_") for name in names):
            found.append(".".join(names))
    return sorted(found)


def page(part: str) -> str:
    """The text of one page."""
    title, purpose = PARTS[part]
    text = [f"(api-{TITLE.get(part, part)})=", f"# {title}", "", purpose, ""]
    for name in modules(part):
        text += [f"## `{name}`", "", "```{eval-rst}", f".. automodule:: {name}", "   :members:", "   :member-order: bysource", "```", ""]
    return "\n".join(text)


def pages() -> dict[Path, str]:
    """Every page by its path."""
    wanted = {PAGES / f"{TITLE.get(part, part)}.md": page(part) for part in PARTS if modules(part)}
    return wanted | {PAGES / "names.md": NAMES}


def main() -> None:
    """Write what differs, remove what is left over."""
    wanted = pages()
    PAGES.mkdir(exist_ok=True)
    for path, text in wanted.items():
        path.write_text(text)
    for path in set(PAGES.glob("*.md")) - set(wanted):
        path.unlink()
    print(f"{len(wanted)} pages in {PAGES.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
