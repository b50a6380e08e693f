"""Is every recorded result still about what is here? `make book` ends where one is not.

A record is stale when one of its files is not the file that its provenance names, when the shipped weights that it was made with are
other ones now, or when the renderer draws other pictures. Then its numbers describe something that no reader has.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from causalpose import weights
from causalpose.experiments.provenance import file_hash
from causalpose.scenes.dataset import renderer_fingerprint

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "ablations" / "results"


def facts(document: object, name: str = "") -> Iterator[tuple[str, str, str]]:
    """Everything that a provenance says about what it was made with: (`renderer`, "", fingerprint) and (`weights`, name, hash)."""
    if isinstance(document, dict):
        if isinstance(document.get("renderer"), str):
            yield "renderer", "", document["renderer"]
        known = document.get("name", name)
        stamp = document.get("sha256") or document.get("key")
        if isinstance(stamp, str) and known in weights.NAMES:
            yield "weights", known, stamp
        for key, value in document.items():
            yield from facts(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from facts(value, name)


def faults(results: Path = RESULTS, here: dict[str, str] | None = None) -> Iterator[str]:
    """One line a stale record; `here` are the hashes of the shipped weights by name, and the renderer's under ``."""
    here = here or {"": renderer_fingerprint()} | {name: file_hash(weights.path(name)) for name in weights.available()}
    places = sorted(results.rglob("provenance.json"))
    if not places:
        yield f"{results} holds no record"
    for place in places:
        record = place.parent.relative_to(results)
        try:
            document = json.loads(place.read_text())
        except ValueError as error:
            yield f"{record}: provenance.json is no JSON ({error}); record it again"
            continue
        for name, expected in document.get("files", {}).items():
            file = place.parent / name
            if not file.is_file() or file_hash(file) != expected:
                yield f"{record}: {name} is {'changed' if file.is_file() else 'missing'}; record it again or restore the file"
        for kind, name, stamp in sorted(set(facts(document))):
            if name in here and here[name] != stamp:
                what = f"the shipped weights {name}" if kind == "weights" else "the renderer"
                yield f"{record}: was made with another version of {what} ({stamp}, now {here[name]}); record it again"


def main() -> None:
    """Print what is stale; any makes the exit code 1."""
    found = list(faults())
    if found:
        sys.exit("\n".join(f"error: stale record {fault}" for fault in found))
    print(f"{len(list(RESULTS.rglob('provenance.json')))} records, none of them stale.")


if __name__ == "__main__":
    main()
