"""Two processes under `accelerate launch` (gloo, on the CPU) compute what one process does, and resume to the bit."""

import os
import socket
import subprocess
import sys

import pytest
import torch

from causalpose.training import checkpoint, log, loop
from causalpose.training.folder import recorded
from causalpose.training.utilisation import training_flops
from tests.training.dots import Dots, config

pytestmark = pytest.mark.slow
RANDOM = ("model.stage=1", "train.augment=true", "train.ema=0.9", "model.backbone.drop_path=0.2", "train.steps=4")


def _launch(out, *arguments: str) -> subprocess.CompletedProcess:
    """`--multi_gpu` is accelerate's word for several processes; the variable puts them on the CPU. (With `--cpu` it starts one only.)"""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launch = [
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--main_process_port",
        str(port),
    ]
    command = [sys.executable, *launch, "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "tests.training.dots", str(out)]
    quiet = {"ACCELERATE_LOG_LEVEL": "error", "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run([*command, *arguments], env=os.environ | quiet, capture_output=True, text=True, timeout=140)


def _parallel(out, *arguments: str):
    run = _launch(out, *arguments)
    assert run.returncode == 0, run.stderr[-3000:]
    return out


def _alone(out, *overrides: str, val: bool = False):
    settings = config(*overrides)
    watched = Dots(settings.model, 10, seed=9) if val else None
    return loop.train(settings, Dots(settings.model, unlabelled=True), out, val=watched, progress=False)


def _assert_same(a, b):
    losses = [[row["loss"] for row in log.read(folder / "log.csv")] for folder in (a, b)]
    assert len(losses[0]) == 4 and losses[0] == pytest.approx(losses[1], rel=1e-5)
    # Not weight by weight: a key's bias has no gradient but rounding errors, and Adam takes a full step along them.


def test_same_losses_as_one_process_with_the_summed_batch(tmp_path):
    """Two shards of two clips in each of two processes are one batch of eight, also where few joints are labelled. Stage 2, with nothing
    drawn and nothing decided by a rounding error. Validation gives both processes the same number, or the second would wait for ever. The
    MFU is a share of both processes' peaks."""
    common = ("model.stage=2", "train.augment=false", "train.steps=4", "model.fte.train_selection=all", "model.fte.clustering=keep")
    common += ("model.fte.supervision_weight=10.0", "train.warmup=0", "train.peak_tflops=0.5")
    whole = _alone(tmp_path / "whole", *common, "train.batch=8", val=True)
    shards = _parallel(tmp_path / "shards", "--unlabelled", "--val", *common, "train.batch=2", "train.accumulate=2")
    watched = [[row["val_pck"] for row in log.read(folder / "log.csv")] for folder in (whole, shards)]
    assert watched[0][1] is not None and watched[0] == pytest.approx(watched[1], abs=1.0)  # one joint of ten clips is 0.7
    assert recorded(shards)["facts"]["clips_per_step"] == 8  # there really were two processes
    _assert_same(whole, shards)
    for folder, processes in ((whole, 1), (shards, 2)):
        for row in log.read(folder / "log.csv"):
            peak = processes * 0.5e12
            assert row["mfu"] == pytest.approx(100 * row["clips_per_second"] * training_flops(config(*common)) / peak, rel=1e-4)


def test_everything_random_belongs_to_the_shard(tmp_path):
    """Masks, noise, drop path and augmentation are the shard's, not the process's: two processes are one with two shards."""
    one = _alone(tmp_path / "one", *RANDOM, "train.accumulate=2")
    _assert_same(one, _parallel(tmp_path / "two", "--unlabelled", *RANDOM))


def test_bf16_is_that_of_one_process(tmp_path):
    """The configuration's precision counts, not the launcher's. The first step's loss and gradient are the same numbers, and others than in
    single precision; the second step's lie behind an update of weights whose gradients were summed in another order."""
    common = ("model.stage=1", "train.augment=false", "train.steps=2")
    alone = [_alone(tmp_path / name, *common, "train.accumulate=2", f"train.precision={name}") for name in ("no", "bf16")]
    shards = _parallel(tmp_path / "shards", "--unlabelled", *common, "train.precision=bf16")
    rows = [log.read(folder / "log.csv") for folder in (*alone, shards)]
    single, half, parallel = ([number for row in run for number in (row["loss"], row["grad_norm"])] for run in rows)
    assert parallel == pytest.approx(half, rel=1e-4) and parallel[:2] == pytest.approx(half[:2], rel=5e-6)
    assert half[:2] != pytest.approx(single[:2], rel=2e-5)


def test_broken_off_and_resumed_is_unbroken(tmp_path):
    """With accumulation, an average and a prefetching thread; broken off in step 3, after the state of step 2 was saved."""
    arguments = ("--unlabelled", *RANDOM, "train.accumulate=2", "train.workers=1")
    whole = _parallel(tmp_path / "whole", *arguments)
    cut = _launch(tmp_path / "cut", *arguments[:-1], "train.workers=0", "--cut=5")
    assert cut.returncode != 0 and not (tmp_path / "cut" / "model.safetensors").exists()
    assert (tmp_path / "cut" / "state.safetensors").exists()
    resumed = _parallel(tmp_path / "cut", *arguments, "--resume")
    a, b = (checkpoint.read(folder)[0] for folder in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)
