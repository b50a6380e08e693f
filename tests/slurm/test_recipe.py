"""The Slurm recipe: what it starts, and that its documented commands are commands of this version."""

import os
import re
import shlex
import signal
import subprocess
import time
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


def _stand_ins(folder: Path, srun: str) -> dict[str, str]:
    """An environment in which `scontrol` writes down what it is asked for (and fails to requeue) and `srun` is the given script."""
    asked = f'if [[ "$1" == show ]]; then echo node-a; else echo "$@" >> "{folder}/asked"; exit 1; fi'
    _program(folder, "scontrol", asked)
    _program(folder, "srun", srun)
    slurm = {"SLURM_JOB_NODELIST": "node-a", "SLURM_JOB_ID": "41234", "SLURM_CPUS_PER_TASK": "6"}
    return os.environ | slurm | {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_the_code_is_sruns_and_its_cores_are_the_jobs(tmp_path):
    environment = _stand_ins(tmp_path, f'echo "$SRUN_CPUS_PER_TASK" > "{tmp_path}/cores"; exit 3')
    run = subprocess.run(["bash", FOLDER / "train.sbatch"], env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 3, run.stderr
    assert (tmp_path / "cores").read_text() == "6\n" and not (tmp_path / "asked").exists()


def test_the_signal_before_the_time_limit_requeues(tmp_path):
    """srun goes on after the signal, and its code is still the script's; so it is where requeueing is refused."""
    assert "#SBATCH --signal=B:USR1@300" in (FOLDER / "train.sbatch").read_text().splitlines()
    environment = _stand_ins(tmp_path, f'touch "{tmp_path}/started"; until [[ -e "{tmp_path}/end" ]]; do sleep 0.02; done; exit 5')
    job = subprocess.Popen(["bash", FOLDER / "train.sbatch"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        _wait_for(tmp_path / "started")
        job.send_signal(signal.SIGUSR1)
        _wait_for(tmp_path / "asked")
        assert (tmp_path / "asked").read_text() == "requeue 41234\n" and job.poll() is None
    finally:
        (tmp_path / "end").touch()
    text, _ = job.communicate(timeout=20)
    assert job.returncode == 5 and "submit it again" in text


def _wait_for(path: Path, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.02)


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
