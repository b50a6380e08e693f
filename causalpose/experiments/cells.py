"""Run the cells of the grid: train a model, put one to its test. A finished cell is read, not redone.

Every cell writes into a folder of its own under a lock, and the file that says "finished" comes last and in one step. So a cell that was
killed goes on where it stopped, and a second process that is asked for the same cell waits for the first and then finds it finished.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from causalpose.config import Config, config_hash, override, to_dict
from causalpose.data.files import read_json, replacing
from causalpose.errors import CausalPoseError
from causalpose.experiments import provenance, records
from causalpose.experiments.grid import CELL, Evaluation, Model, weights_key
from causalpose.experiments.measure import Measured, TestSet, measure_model, test_sets
from causalpose.training import checkpoint, loop
from causalpose.training.sources import training_source

try:
    import fcntl
except ImportError:  # not on Windows, where cells must not be run twice at once
    fcntl = None


@dataclass(frozen=True)
class Finished:
    """A finished cell: its folder, and what its provenance says."""

    folder: Path
    provenance: dict
    measured: Measured | None = None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only process in a cell's folder; the lock ends with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def place(model: Model | str, root: Path) -> str:
    """Where the weights of a model lie: its cell's folder, or the given name or path."""
    return model if isinstance(model, str) else str(model.folder(root))


def trained(model: Model, root: Path) -> bool:
    """Whether the cell is finished and its weights are those that it wrote."""
    try:
        document = read_json(model.done(root))
        return document["weights"] == provenance.file_hash(model.folder(root) / "model.safetensors")
    except (CausalPoseError, OSError, KeyError, TypeError):
        return False


def train(model: Model, root: Path, *, source=None, progress: bool = True) -> Finished:
    """Train a model, going on where an earlier try stopped; what it starts from is trained first where it is missing.

    source   the training clips, where they are at hand already
    """
    folder = model.folder(root)
    if not trained(model, root):
        if isinstance(model.init, Model):
            train(model.init, root, progress=progress)
        with alone(folder):
            if not trained(model, root):
                _train(model, root, source, progress)
    return Finished(folder, read_json(model.done(root)))


def _train(model: Model, root: Path, source, progress: bool) -> None:
    folder, init = model.folder(root), None if model.init is None else place(model.init, root)
    model.done(root).unlink(missing_ok=True)
    if (folder / "model.safetensors").is_file() and not _sound(folder):
        (folder / "model.safetensors").unlink()
    began = time.perf_counter()
    source = training_source(model.config, progress=progress) if source is None else source
    loop.train(model.config, source, folder, init=init, resume=True, progress=progress)
    # A try that was cut short took seconds as well, and they are in what the run kept.
    seconds = max(time.perf_counter() - began, checkpoint.read(folder)[2]["seconds"])
    document = {
        "cell": model.kind, "key": model.key, "code": model.code, **config_facts(model.config), "init": init_facts(init),
        "source": portable(source.describe()), "seconds": round(seconds, 1),
        "weights": provenance.file_hash(folder / "model.safetensors"), **provenance.here(),
    }  # fmt: skip
    with replacing(folder / CELL) as temporary:
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _sound(folder: Path) -> bool:
    try:
        checkpoint.read(folder)
    except CausalPoseError:
        return False
    return True


def evaluate(evaluation: Evaluation, root: Path, *, sets: Sequence[TestSet] | None = None, progress: bool = True) -> Finished:
    """Put a model to its test; it is trained first where that is missing. Labels in the record are those of the cell, not of a study."""
    folder = evaluation.folder(root)
    if not records.finished(folder):
        if isinstance(evaluation.model, Model):
            train(evaluation.model, root, progress=progress)
        with alone(folder):
            if not records.finished(folder):
                _evaluate(evaluation, root, sets, progress)
    record = records.read(folder)
    return Finished(folder, record.provenance[0], record.measured)


def _evaluate(evaluation: Evaluation, root: Path, sets: Sequence[TestSet] | None, progress: bool) -> None:
    began = time.perf_counter()
    where = place(evaluation.model, root)
    model, config, _ = checkpoint.load(where)
    if sets is None:
        sets = test_sets(evaluation.protocol, _tested_on(config, evaluation), progress)
    labels = {"study": "cell", "variant": evaluation.folder(root).name, "seed": config.train.seed}
    measured = measure_model(model, config, sets, flip_test=evaluation.protocol.flip_test, progress=progress, **labels)
    facts = {
        "cell": evaluation.kind, "key": evaluation.key, "code": evaluation.code, **config_facts(config), "weights": init_facts(where),
        "protocol": asdict(evaluation.protocol), "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip
    records.write(evaluation.folder(root), measured, facts)


def _tested_on(config: Config, evaluation: Evaluation) -> Config:
    """The model's configuration with the data that it is tested on: the scenes are seed 0's for every model, so that clips pair."""
    return override(config, {"data.source": evaluation.data, "data.seed": 0})


def config_facts(config: Config) -> dict:
    """Configuration, its hash, and the seed, ready for JSON."""
    return {"seed": config.train.seed, "config_hash": config_hash(config), "config": portable(to_dict(config))}


def init_facts(init: str | None) -> dict | None:
    """What weights a cell starts from: name, and what names their content."""
    return None if init is None else {"name": Path(init).name, "key": weights_key(init)}


def portable(value):
    """Plain facts without what belongs to one machine: of an absolute path the last part."""
    if isinstance(value, dict):
        return {key: portable(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(part) for part in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
