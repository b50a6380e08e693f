"""A cell of a study: one variant with one seed, trained, tested and recorded; a finished cell is read, not redone.

A cell's folder is named by everything that decides its numbers: configuration, starting weights, test protocol, and the source code.
Change any of them and it is another cell; leave them and an interrupted study goes on where it stopped.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from causalpose.config import Config, config_hash, to_dict
from causalpose.experiments import records
from causalpose.experiments.measure import Measured, Protocol, TestSet, measure_model
from causalpose.experiments.provenance import file_hash, source_hash
from causalpose.training import checkpoint, loop


@dataclass(frozen=True)
class Cell:
    """One variant with one seed. `trained` False: `init` is tested as it is."""

    study: str
    variant: str
    config: Config
    init: str | None
    protocol: Protocol
    trained: bool = True

    @property
    def seed(self) -> int:
        """The training seed; a cell that is not trained has seed 0."""
        return self.config.train.seed if self.trained else 0

    def facts(self) -> dict:
        """What decides the cell's numbers, ready for JSON."""
        weights = None if self.init is None else {"name": Path(self.init).name, "sha256": file_hash(checkpoint.locate(self.init))}
        return {
            "variant": self.variant, "seed": self.seed, "trained": self.trained, "config_hash": config_hash(self.config),
            "init": weights, "protocol": asdict(self.protocol),
        }  # fmt: skip

    def folder(self, out: Path) -> Path:
        """The cell's folder below `out`."""
        text = json.dumps([self.facts(), source_hash()], sort_keys=True)
        return out / f"{self.variant}-seed{self.seed}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Finished:
    """A finished cell: its folder (the run is in `run/`), what was measured, and its provenance."""

    folder: Path
    measured: Measured
    provenance: dict

    @property
    def checkpoint(self) -> Path:
        """The run folder with the trained model."""
        return self.folder / "run"


def run(cell: Cell, out: Path, source, sets: Sequence[TestSet], progress: bool = True) -> Finished:
    """Train (going on where it was interrupted), test and record a cell; a finished one is read."""
    folder = cell.folder(out)
    if not records.finished(folder):
        began = time.perf_counter()
        if cell.trained:
            loop.train(cell.config, source, folder / "run", init=cell.init, resume=True, progress=progress)
        model, config, _ = checkpoint.load(folder / "run" if cell.trained else cell.init)
        trained = time.perf_counter()
        labels = {"study": cell.study, "variant": cell.variant, "seed": cell.seed}
        measured = measure_model(model, config, sets, flip_test=cell.protocol.flip_test, progress=progress, **labels)
        seconds = {"train": round(trained - began, 1), "test": round(time.perf_counter() - trained, 1)}
        records.write(folder, measured, {"study": cell.study, **cell.facts(), "config": portable(to_dict(config)), "seconds": seconds})
    record = records.read(folder)
    return Finished(folder, record.measured, record.provenance[0])


def portable(value):
    """Plain facts without what belongs to one machine: of an absolute path the last part."""
    if isinstance(value, dict):
        return {key: portable(part) for key, part in value.items()}
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
