"""The grid as notebooks to run: which template a cell belongs to, with which parameters, after which other cells.

The engine (`ablations/Snakefile`, and `causalpose ablate` in front of it) needs no more than this list. Nothing here imports torch.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from causalpose.config import Config, differing_keys, override, preset
from causalpose.errors import CausalPoseError
from causalpose.experiments import grid
from causalpose.experiments.arms import STUDIES
from causalpose.experiments.grid import Asked, Evaluation, Model
from causalpose.experiments.modules import code_hash

# Studies that are no table of arms: their notebook runs tasks of its own, and goes on where it stopped. By name, the module that runs
# and records them, and the weights that they start from.
STANDALONE = {"attribution": ("causalpose.experiments.attribution.record", ("tiny-backbone", "tiny-stage1"))}
NAMES = (*STUDIES, *STANDALONE)
TEMPLATES = {"backbone": "train_backbone", "stage1": "train_stage1", "stage2": "train_stage2", "evaluation": "evaluate"}


@dataclass(frozen=True)
class Job:
    """One notebook run: `done` is the file that exists when it is finished, `needs` those that have to exist before.

    work   of training: steps (with their accumulation) relative to what the scale takes for the stage; 1 for what does not train. A rough
           measure: where a study gives its arms the same minutes, the arms with quick steps have more of them
    """

    name: str
    kind: str
    template: str
    parameters: dict
    done: str
    needs: tuple[str, ...]
    label: str
    work: float = 1.0

    @property
    def encoded(self) -> str:
        """The parameters as papermill's `--parameters_base64` takes them."""
        return base64.b64encode(json.dumps(self.parameters).encode()).decode()


def jobs(names: Sequence[str], asked: Asked, root: Path = grid.ROOT) -> list[Job]:
    """Every job of the studies, once each, what it needs before it; paths are relative to the folder that the grid runs in."""
    place = root / asked.scale
    tables = {name: grid.entries(name, asked) for name in names if name in STUDIES}
    labels: dict[str, str] = {}
    for name, table in tables.items():
        for entry in table:
            for cell in grid.cells([entry]):
                own = cell is entry.evaluation or cell is entry.evaluation.model
                labels.setdefault(cell.key, f"{name}/{entry.arm.name}, seed {entry.seed}" if own else f"seed {cell.seed}")
    out = {}
    for table in tables.values():
        for cell in grid.cells(table):
            training = isinstance(cell, Model)
            job = (_training if training else _evaluation)(cell, asked, root, place)
            work = _passes(cell.config) / _passes(_template(cell, asked)) if training else 1.0
            out.setdefault(cell.key, Job(*job, label=f"{job[1]}: {labels[cell.key]}", work=work))
    for name, table in tables.items():
        key = grid.study_key(name, table)
        given = {f.name: getattr(asked, f.name) for f in fields(Asked)}
        parameters = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items() if v not in (None, ())}
        folder = place / "studies" / f"{name}-{key}"
        parameters |= {"out": str(root), "results": str(folder), "cell": key}
        needs = tuple(dict.fromkeys(str(entry.evaluation.done(place)) for entry in table))
        done = str(folder / name / asked.scale / "provenance.json")
        out[key] = Job(f"{name}-{key}", "study", name, parameters, done, needs, f"study: {name}")
    for name in names:
        if name in STANDALONE:
            job = _standalone(name, asked, root, place)
            out[job.name] = job
    return list(out.values())


def _standalone(name: str, asked: Asked, root: Path, place: Path) -> Job:
    module, starts = STANDALONE[name]
    given = {"seeds": asked.seeds, "overrides": asked.overrides}
    parameters = {"scale": asked.scale} | {key: list(value) for key, value in given.items() if value}
    key = grid.digest(name, parameters, code_hash(module), [grid.weights_key(start) for start in starts])
    folder = place / "studies" / f"{name}-{key}"
    parameters |= {"out": str(root), "results": str(folder)}
    return Job(f"{name}-{key}", "study", name, parameters, str(folder / name / asked.scale / "provenance.json"), (), f"study: {name}")


def _training(cell: Model, asked: Asked, root: Path, place: Path) -> tuple:
    below = cell.init
    init = "none" if below is None else below if isinstance(below, str) else str(below.folder(place))
    parameters = {"scale": asked.scale, "preset": cell.config.preset, "seed": cell.seed, "init": init, "data": asked.data}
    parameters |= {"tested": False, "out": str(root), "cell": cell.key, "overrides": _overrides(cell, asked)}
    needs = (str(below.done(place)),) if isinstance(below, Model) else ()
    return cell.folder(place).name, cell.kind, TEMPLATES[cell.kind], parameters, str(cell.done(place)), needs


def _overrides(cell: Model, asked: Asked) -> list[str]:
    """The settings in which a cell differs from what its template comes to by itself."""
    return [f"{key}={json.dumps(value)}" for key, (_, value) in differing_keys(_template(cell, asked), cell.config).items()]


def _template(cell: Model, asked: Asked) -> Config:
    sizes, stage = asked.sizes, cell.config.model.stage
    values = {"model.stage": stage, "data.source": asked.data, "train.seed": cell.seed, **sizes.training, **sizes.stages.get(stage, {})}
    return override(preset(cell.config.preset), values)


def _passes(config: Config) -> int:
    """Batches that a training sends through the model."""
    return config.train.steps * config.train.accumulate


def _evaluation(cell: Evaluation, asked: Asked, root: Path, place: Path) -> tuple:
    model = cell.model
    parameters = {"scale": asked.scale, "checkpoint": model if isinstance(model, str) else str(model.folder(place))}
    parameters |= {"data": asked.data, "test_split": asked.test_split, "test_clips": asked.test_clips, "severity": asked.severity}
    parameters |= {"out": str(root), "cell": cell.key}
    needs = (str(model.done(place)),) if isinstance(model, Model) else ()
    parameters = {key: value for key, value in parameters.items() if value is not None}
    return cell.folder(place).name, cell.kind, TEMPLATES[cell.kind], parameters, str(cell.done(place)), needs


def chosen(names: Sequence[str] | None) -> tuple[str, ...]:
    """The studies by name, all by default; an unknown one is an error."""
    for name in names or ():
        if name not in NAMES:
            raise CausalPoseError(f"study = {name!r} is not one of: {', '.join(NAMES)}")
    return tuple(dict.fromkeys(names)) if names else NAMES
