"""The Slurm profile on a real one-node cluster that lives for the test: controller, node and authentication of its own."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from causalpose.experiments import grid
from tests.experiments import test_engine

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
WHERE = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
CONF = """
ClusterName=test
SlurmctldHost={host}
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={control}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
NodeName={host} CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def port() -> int:
    with socket.socket() as open_socket:
        open_socket.bind(("127.0.0.1", 0))
        return open_socket.getsockname()[1]


@pytest.fixture
def cluster(tmp_path):
    """Its environment; skips where Slurm is not installed or may not be started."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=WHERE) is None]
    if missing:
        pytest.skip(f"Slurm is not installed here ({', '.join(missing)} missing; Debian: apt-get install slurm-wlm)")
    if os.geteuid() != 0:
        pytest.skip("a node of a cluster is started by root")
    folder = tmp_path / "cluster"
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    host = socket.gethostname().partition(".")[0]
    conf, memory = folder / "slurm.conf", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 100
    conf.write_text(
        CONF.format(host=host, user=getpass.getuser(), control=port(), node=port(), folder=folder, cores=os.cpu_count(), memory=memory)
    )
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    # A job finds the cluster through its programs, not through the variable: what starts with SLURM_ does not reach it.
    (folder / "bin").mkdir()
    for name in ("sbatch", "srun", "squeue", "sinfo", "sacct", "scancel", "scontrol"):
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {shutil.which(name, path=WHERE)} "$@"\n')
        program.chmod(0o755)
    environment = {"SLURM_CONF": str(conf), "PATH": os.pathsep.join((str(folder / "bin"), WHERE))}
    munge = [
        "munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key",
        f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed",
    ]  # fmt: skip
    services, running = (munge, ["slurmctld", "-D", "-f", str(conf)], ["slurmd", "-D", "-f", str(conf), "-N", host]), []
    try:
        for command in services:
            command = [shutil.which(command[0], path=WHERE), *command[1:]]
            running.append(subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            time.sleep(1)
        deadline = time.monotonic() + 60
        while "idle" not in (state := said(["sinfo", "-h", "-o", "%T"], environment)):
            if time.monotonic() > deadline or any(process.poll() is not None for process in running):
                logs = "\n".join(path.read_text(errors="replace")[-400:] for path in folder.glob("*.log"))
                pytest.skip(f"the one-node cluster does not come up here (state {state!r}): {logs}")
            time.sleep(0.5)
        yield environment
    finally:
        for process in reversed(running):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def said(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True).stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_grid_runs_through_slurm(cluster, tmp_path, repository):
    """Every cell of a study as a job of the cluster, in order; the same files as without it."""
    folder = tmp_path / "grid"
    config = {"scale": "smoke", "studies": "tcis"}
    profile = repository / "ablations" / "profiles" / "slurm"
    hurry = ("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1")
    code, words, errors = test_engine.finish(folder, config, ("--profile", str(profile), *hurry), seconds=850, **cluster)
    place = folder / grid.ROOT / "smoke"
    assert code == 0, errors + (place / "snakemake.log").read_text()[-3000:]
    assert (place / "snakemake.log").read_text().count("SLURM jobid") >= 7
    assert len(test_engine.tables(folder)) == 7 + 1  # the study's record is published too
    assert Path(folder / grid.ROOT / "results" / "tcis" / "smoke" / "provenance.json").is_file()
