"""Write the recorded results into README.md, between its two markers (`make readme`).

The block is made from the `results.csv.gz` of every record below `ablations/results/` alone: one table a study, a row a variant, a column
a condition. A cell is the mean over the recorded seeds with their lowest and highest value. The test-suite fails when the block is not
what this program would write.
"""

import csv
import gzip
import os
from collections import defaultdict
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
COLUMNS = ("study", "variant", "seed", "dataset", "condition", "joint", "metric", "value")
# The one measure that the front page shows; the book has the others.
METRIC, JOINT = "PCK@0.2", "mean"
CONDITIONS = ("clean", "occluded", "defocus", "motion_blur", "low_light")
NOTHING = "No results have been recorded yet: `ablations/results/` holds none."


def rows(folder: Path) -> list[dict[str, str]]:
    """All rows of the records that the front page shows; a file without the tidy columns is an error.

    The levels of difficulty are left to the book, and so are searches: what they measured on val led to a choice and is no result. What
    `causalpose bench` records (`benchmark/`) are seconds and ratios, and has columns of its own.
    """
    found = []
    for path in sorted(folder.rglob("results.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise SystemExit(
                    f"error: {path.relative_to(folder)} lacks the column {missing[0]!r}; a result file has {', '.join(COLUMNS)}"
                )
            shown = [row for row in reader if row["metric"] == METRIC and row["joint"] == JOINT]
            found += [row for row in shown if "-level-" not in row["dataset"] and not row["study"].endswith("_search")]
    return found


def cell(values: list[float]) -> str:
    """`mean (lowest to highest)` of the seeds; one seed has no spread."""
    if not values:
        return "–"
    shown = f"{fmean(values):.1f}"
    return shown if len(values) == 1 else f"{shown} ({min(values):.1f} to {max(values):.1f})"


def table(study: str, dataset: str, measured: list[dict[str, str]]) -> str:
    """One study's Markdown table with its heading line."""
    values = defaultdict(list)
    for row in measured:
        values[row["variant"], row["condition"]].append(float(row["value"]))
    conditions = [name for name in CONDITIONS if any(condition == name for _, condition in values)]
    conditions += sorted({condition for _, condition in values} - set(CONDITIONS))
    seeds = len({row["seed"] for row in measured})
    lines = [f"**{study}** on {dataset}: PCK@0.2 in per cent, mean (lowest to highest) of {seeds} seed{'s' if seeds > 1 else ''}", ""]
    lines += ["| variant | " + " | ".join(name.replace("_", " ") for name in conditions) + " |", "| --- " * (len(conditions) + 1) + "|"]
    for variant in dict.fromkeys(row["variant"] for row in measured):
        lines.append(f"| {variant} | " + " | ".join(cell(values[variant, condition]) for condition in conditions) + " |")
    return "\n".join(lines)


def block(folder: Path) -> str:
    """The text between the markers."""
    studies = defaultdict(list)
    for row in rows(folder):
        studies[row["study"], row["dataset"]].append(row)
    return "\n\n".join(table(study, dataset, measured) for (study, dataset), measured in studies.items()) or NOTHING


def filled(readme: str, folder: Path) -> str:
    """README's text with the block replaced."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"error: README.md lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{block(folder)}\n{END}{after}"


def main() -> None:
    """Rewrite README.md in one step."""
    target = ROOT / "README.md"
    fresh = ROOT / "README.md.tmp"
    fresh.write_text(filled(target.read_text(), ROOT / "ablations" / "results"))
    os.replace(fresh, target)
    print("README.md: the results block is up to date")


if __name__ == "__main__":
    main()
