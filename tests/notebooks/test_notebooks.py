"""The notebooks run through papermill as the documentation says, and stop with one clear line when a parameter is wrong."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import nbformat
import pytest

from causalpose.config import override, preset
from causalpose.experiments import arms, jobs, parameters, records
from causalpose.model.cmpose import CMPose
from causalpose.training import checkpoint

SMALL = (
    "model.height=32 model.width=24 model.backbone.width=32 model.backbone.depth=1 model.backbone.heads=2 model.encoder.depth=1 "
    "model.encoder.heads=2 model.head.channels=16 model.fte.depth=1 model.fte.heads=2"
)
TINY = {"steps": 2, "batch": 4, "clips": 8, "test_clips": 4, "overrides": SMALL}
TRAINING = {"train_backbone": "BackboneParameters", "train_stage1": "Stage1Parameters", "train_stage2": "Stage2Parameters"}
STUDIES = tuple(arms.STUDIES)


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> dict[int, Path]:
    """Untrained small checkpoints of stages 0 and 1."""
    folder = tmp_path_factory.mktemp("weights")
    out = {}
    for stage in (0, 1):
        config = override(override(preset("tiny"), SMALL.split()), {"model.stage": stage})
        out[stage] = checkpoint.save(folder / f"small-{stage}.safetensors", CMPose(config.model), config, {})
    return out


def papermill(repository: Path, study: str, folder: Path, **parameters) -> subprocess.CompletedProcess:
    """Run a notebook by the plain command, from a folder that is not the repository's."""
    given = [part for name, value in parameters.items() for part in ("-p", name, str(value))]
    command = [sys.executable, "-m", "papermill", repository / "ablations" / f"{study}.ipynb", "out.ipynb", "--no-progress-bar", *given]
    environment = os.environ | {"CAUSALPOSE_CACHE": str(folder / "cache"), "IPYTHONDIR": str(folder / "ipython")}
    environment.pop("MPLBACKEND", None)  # the kernel chooses its own, or no figure would be stored
    return subprocess.run([*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
@pytest.mark.parametrize("study", ["train_backbone", "train_stage1", "train_stage2", "tcis"])
def test_runs_from_any_folder(study, repository, tmp_path, weights):
    """Executed with figures and tables, record below the folder it was called in, nothing written into the repository.

    A study stands for all of them; `make ablations SCALE=smoke` runs every one. The training templates test their model in themselves here,
    which the grid leaves to a cell of its own.
    """
    recorded = sorted((repository / "ablations").rglob("*"))
    if study in STUDIES:
        given = {"backbones": weights[0], "seeds": "0 1", "arms": "attention random"}
    else:
        given = {"init": {"train_backbone": "none", "train_stage1": weights[0], "train_stage2": weights[1]}[study], "seed": 3}
    finished = papermill(repository, study, tmp_path, scale="smoke", **TINY, **given)
    assert finished.returncode == 0, finished.stderr[-2000:]
    notebook = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    kinds = [kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert kinds.count("image/png") >= 2 and kinds.count("text/html") >= 2
    record = records.read(tmp_path / "runs" / "ablations" / "results" / study / "smoke")
    assert set(record.results["study"]) == {study}
    assert set(record.results["seed"]) >= ({0, 1} if study in STUDIES else {3})
    assert sorted((repository / "ablations").rglob("*")) == recorded


@pytest.mark.slow
@pytest.mark.parametrize(
    "study, parameters, line",
    [
        ("train_stage1", {"mask_ratoi": 0.3}, "CausalPoseError: unknown parameter 'mask_ratoi'; did you mean 'mask_ratio'?"),
        ("evaluate", {"checkpoint": "broken.safetensors"}, "CausalPoseError: checkpoint broken.safetensors is truncated or damaged"),
    ],
)
def test_a_wrong_parameter_is_one_clear_line(study, parameters, line, repository, tmp_path, weights):
    """The last line of papermill's report is the message, with no traceback of the library's above it; nothing was trained.

    Two of the faults stand for all: every one of them is tested without papermill in tests/experiments/test_parameters.py.
    """
    (tmp_path / "broken.safetensors").write_bytes(weights[0].read_bytes()[:1000])
    finished = papermill(repository, study, tmp_path, **parameters)
    assert finished.returncode != 0
    *above, last = finished.stderr.strip().splitlines()
    assert last.startswith(line), finished.stderr[-1500:]
    assert above[-1].startswith("Exception encountered at"), "the library's traceback stands above the line"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("template", [*TRAINING, "evaluate", *STUDIES])
def test_every_parameter_of_the_class_stands_in_the_cell_with_its_default(template, repository):
    """The `parameters` cell is what papermill and a reader see; it must say what the class says."""
    name = TRAINING.get(template) or "EvaluateParameters"
    cls = parameters.STUDIES[template] if template in STUDIES else getattr(parameters, name)
    notebook = nbformat.read(repository / "ablations" / f"{template}.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    namespace: dict = {}
    exec(cell.source, {}, namespace)
    assert set(namespace) == {f.name for f in fields(cls)}
    start = {"init": "none"} if template in TRAINING else {}
    assert parameters.check(cls, namespace | start) == parameters.check(cls, dict(start))


def test_every_template_is_of_the_grid(repository):
    """A notebook beside the others that nothing runs would rot."""
    found = {path.stem for path in (repository / "ablations").glob("*.ipynb")}
    assert found == {*TRAINING, "evaluate", *jobs.NAMES}
