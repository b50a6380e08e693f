"""The record of an experiment: a folder with four files that belong together.

    results.csv.gz    tidy, one row a measurement: study, variant, seed, dataset, condition, joint, metric, value (per cent)
    clips.csv.gz      one row a clip with its counts of right joints, so that differences can be paired
    comparisons.csv   paired differences with intervals (absent where there is nothing to compare)
    provenance.json   code, parameters, configurations, versions, machine, time, and a hash of each file above

`provenance.json` is written last and names the content of the others, so a record that was cut short or edited is noticed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from causalpose.data.files import read_json, replacing
from causalpose.errors import CausalPoseError
from causalpose.evaluation import tables
from causalpose.experiments.measure import LABELS, Measured
from causalpose.experiments.provenance import file_hash, here

RESULTS, CLIPS, COMPARISONS, PROVENANCE = "results.csv.gz", "clips.csv.gz", "comparisons.csv", "provenance.json"


@dataclass(frozen=True)
class Record:
    """A record as read: tidy results, per-clip counts, comparisons (None where there are none), provenance documents."""

    results: pd.DataFrame
    clips: pd.DataFrame
    comparisons: pd.DataFrame | None
    provenance: tuple[dict, ...]

    @property
    def measured(self) -> Measured:
        """Results and clips without the rest."""
        return Measured(self.results, self.clips)


def write(folder: Path | str, measured: Measured, facts: dict, comparisons: pd.DataFrame | None = None) -> Path:
    """Write a record, replacing the one in the folder; `facts` joins what `provenance.here` knows. Returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tables.write(folder / RESULTS, measured.results)
    with replacing(folder / CLIPS) as temporary:
        temporary.write_bytes(tables.packed(measured.clips))
    if comparisons is None:
        (folder / COMPARISONS).unlink(missing_ok=True)
    else:
        with replacing(folder / COMPARISONS) as temporary:
            comparisons.to_csv(temporary, index=False, float_format="%.6g")
    files = {name: file_hash(folder / name) for name in (RESULTS, CLIPS, COMPARISONS) if (folder / name).is_file()}
    with replacing(folder / PROVENANCE) as temporary:
        document = {**facts, **here(), "files": files}
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return folder


def read(folder: Path | str) -> Record:
    """The record in a folder, or all records below it as one.

    Refused: no record; a file that is not what its provenance says; records, or cells of one, that different code made; the same cell
    twice.
    """
    folder = Path(folder)
    places = sorted(path.parent for path in folder.rglob(PROVENANCE)) if folder.is_dir() else []
    if not places:
        raise CausalPoseError(f"{folder} holds no record ({PROVENANCE}); run the study with its parameter results={folder}")
    parts = [_read_one(place) for place in places]
    sources = {document["source_hash"]: place for place, part in zip(places, parts, strict=True) for document in part.provenance}
    if len(sources) > 1:
        listed = ", ".join(f"{place} by {name}" for name, place in sources.items())
        raise CausalPoseError(f"records under {folder} were made by different versions of the code ({listed}); run the older ones again")
    _one_code([cell for part in parts for document in part.provenance for cell in document.get("cells", ())], folder)
    measured = Measured.join([part.measured for part in parts])
    keys = [name for name in tables.COLUMNS if name != "value"]
    twice = measured.results[measured.results.duplicated(keys)]
    if len(twice):
        row = twice.iloc[0]
        raise CausalPoseError(
            f"records under {folder} hold {row.study}/{row.variant} seed {row.seed} on {row.dataset} twice; remove one of them"
        )
    compared = [part.comparisons for part in parts if part.comparisons is not None]
    joined = pd.concat(compared, ignore_index=True) if compared else None
    return Record(measured.results, measured.clips, joined, tuple(document for part in parts for document in part.provenance))


def _one_code(cells: Sequence[dict], folder: Path) -> None:
    """Refuse a table whose cells were trained, or tested, by different code. (Models may be older than their tests: that is told apart.)"""
    for what, chosen in (("tested", True), ("trained", False)):
        # records of earlier versions name the whole source alone
        of_the_grid = [cell for cell in cells if "cell" in cell and (cell["cell"] == "evaluation") is chosen]
        codes = {cell.get("code") or cell["source_hash"]: cell["key"] for cell in of_the_grid}
        if len(codes) > 1:
            listed = ", ".join(f"{key} by {code}" for code, key in codes.items())
            raise CausalPoseError(f"{folder}: cells were {what} by different versions of the code ({listed}); run the study again")


def finished(folder: Path | str) -> bool:
    """Whether a folder holds a whole record."""
    try:
        _read_one(Path(folder))
    except (CausalPoseError, OSError):
        return False
    return True


def _read_one(folder: Path) -> Record:
    document = read_json(folder / PROVENANCE)
    if not isinstance(document, dict) or not isinstance(document.get("files"), dict) or "source_hash" not in document:
        raise CausalPoseError(f"{folder / PROVENANCE} is not the provenance of a record; run the study again")
    for name, expected in document["files"].items():
        path = folder / name
        if not path.is_file() or file_hash(path) != expected:
            raise CausalPoseError(
                f"{path} is {'changed' if path.is_file() else 'missing'}: not what {PROVENANCE} recorded; run the study again"
            )
    clips = pd.read_csv(folder / CLIPS, keep_default_na=False)
    counts = {name: "uint8" for name in clips if name not in LABELS}
    comparisons = pd.read_csv(folder / COMPARISONS, keep_default_na=False, na_values=[""]) if COMPARISONS in document["files"] else None
    return Record(tables.read(folder / RESULTS), clips.astype(counts), comparisons, (document,))


def select(record: Record, *, study: str | None = None, variants: Sequence[str] | None = None) -> Measured:
    """The rows of one study or of some variants."""

    def chosen(frame: pd.DataFrame) -> pd.DataFrame:
        kept = pd.Series(True, index=frame.index)
        if study is not None:
            kept &= frame["study"] == study
        if variants is not None:
            kept &= frame["variant"].isin(list(variants))
        return frame[kept].reset_index(drop=True)

    return Measured(chosen(record.results), chosen(record.clips))
