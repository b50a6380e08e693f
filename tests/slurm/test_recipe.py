"""The Slurm recipe: what it starts, and that its documented commands are commands of this version."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from causalpose.cli.main import app
from causalpose.data.formats import FORMATS

FOLDER = Path(__file__).resolve().parents[2] / "ablations" / "slurm"


def _program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)


def _started(folder: Path, nodes: int, gpus: int, *arguments: str) -> list[list[str]]:
    """Command lines that the recipe starts, node by node, with Slurm's programs and accelerate replaced by ones that write them down."""
    _program(folder, "scontrol", "printf 'node-a\\nnode-b\\n'")
    _program(folder, "accelerate", f'printf "%s\\0" "$@" >> "{folder}/$SLURM_NODEID"')
    ranks = " ".join(map(str, range(nodes)))
    _program(folder, "srun", f'shift; for rank in {ranks}; do SLURM_NODEID=$rank "$@" || exit 1; done')
    slurm = {
        "SLURM_JOB_NUM_NODES": str(nodes),
        "SLURM_GPUS_ON_NODE": str(gpus),
        "SLURM_JOB_NODELIST": "node-[a-b]",
        "SLURM_JOB_ID": "41234",
    }
    environment = os.environ | slurm | {"PATH": f"{folder}:{os.environ['PATH']}"}
    run = subprocess.run(["bash", FOLDER / "train.sbatch", *arguments], env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return [(folder / str(rank)).read_text().split("\0")[:-1] for rank in range(nodes)]


def test_two_nodes(tmp_path):
    """One launcher a node, told its rank; all arguments arrive as they were given, and the run resumes."""
    given = ["--preset", "base", "--data", "posetrack17:a folder", "--set", 'model.keypoints="coco17"', "--out", "runs/x"]
    nodes = _started(tmp_path, 2, 8, *given)
    for rank, line in enumerate(nodes):
        assert line[: line.index("-m")] == [
            "launch", "--num_machines", "2", "--num_processes", "16", "--main_process_ip", "node-a", "--main_process_port", "21234",
            "--mixed_precision", "no", "--dynamo_backend", "no", "--multi_gpu", "--machine_rank", str(rank),
        ]  # fmt: skip
        assert line[line.index("-m") :] == ["-m", "causalpose", "train", *given, "--resume", "--quiet"]


def test_one_gpu(tmp_path):
    (line,) = _started(tmp_path, 1, 1, "--out", "runs/x")
    assert "--multi_gpu" not in line and line[line.index("--num_processes") + 1] == "1"


@pytest.mark.parametrize("edition", ["posetrack17", "posetrack18", "posetrack21"])
def test_documented_commands_are_commands(edition):
    """Every option of the README's commands exists, and every edition has both stages and an evaluation."""
    lines = [line for line in (FOLDER / "README.md").read_text().splitlines() if f'"{edition}:$' in line]
    assert len(lines) == 3 and edition in FORMATS
    commands = typer.main.get_command(app).commands
    for line in lines:
        name = "evaluate" if line.startswith("causalpose evaluate") else "train"
        words = shlex.split(re.sub(r"^.*(train\.sbatch|causalpose evaluate) ", "", line).rstrip(")"))
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
    assert ["--stage 1" in lines[0], "--stage 2" in lines[1], f"--init runs/{edition}/stage1" in lines[1]] == [True] * 3
