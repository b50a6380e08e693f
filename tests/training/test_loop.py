"""The loop: it learns, resumes bit for bit, refuses what it must, and parallel training computes what one process does."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from causalpose.config import override
from causalpose.errors import CausalPoseError
from causalpose.training import checkpoint, log, loop, state
from causalpose.training.objective import Objective
from tests.training.dots import Cut, CutDots, Dots, config

EVERYTHING_RANDOM = ("model.stage=1", "train.augment=true", "train.ema=0.9")


def _train(settings, out, **named):
    return loop.train(settings, named.pop("source", None) or Dots(settings.model), out, progress=False, **named)


def _weights(folder):
    return checkpoint.read(folder)[0]


def _equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_it_learns(tmp_path, stage):
    """A flat map of 16x16 cells has the loss log 256 = 5.5; learning 4 clips by heart, 60 steps bring it well below."""
    settings = config(f"model.stage={stage}", "train.steps=60", "train.lr=0.005", "train.augment=false", "train.checkpoint_every=1000")
    _train(settings, tmp_path / "run", source=Dots(settings.model, 4))
    rows = log.read(tmp_path / "run" / "log.csv")
    assert len(rows) == 60
    assert rows[-1]["pose"] < 0.9 * rows[0]["pose"]
    assert rows[-1]["clips_per_second"] > 0 and rows[-1]["lr"] < rows[10]["lr"]


def test_the_log_names_every_loss(tmp_path):
    _train(config("train.steps=3"), tmp_path / "run")
    row = log.read(tmp_path / "run" / "log.csv")[-1]
    assert {"step", "lr", "loss", "pose", "pck", "grad_norm", "clips_per_second", "seconds", "mask", "noise", "target_variance"} <= set(row)
    assert row["loss"] == pytest.approx(row["pose"] + row["mask"] + row["noise"], rel=1e-4)


def test_same_seed_same_weights_other_seed_others(tmp_path):
    runs = [
        _train(config(*EVERYTHING_RANDOM, f"train.seed={seed}", "train.steps=3"), tmp_path / f"{i}") for i, seed in enumerate((0, 0, 1))
    ]
    first, again, other = map(_weights, runs)
    assert _equal(first, again) and not _equal(first, other)


def test_the_caller_keeps_its_random_stream(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    _train(config("train.steps=1"), tmp_path / "run")
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("at", [1, 4, 5, 9])
def test_broken_off_and_resumed_is_unbroken(tmp_path, at):
    settings = config(*EVERYTHING_RANDOM, "train.log_every=3")
    whole = _train(settings, tmp_path / "whole")
    with pytest.raises(Cut):
        _train(settings, tmp_path / "cut", source=CutDots(settings.model, at))
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    cut = _train(settings, tmp_path / "cut", resume=True)
    assert _equal(_weights(whole), _weights(cut))
    timed = ("clips_per_second", "mfu", "seconds")
    rows = [[{k: v for k, v in row.items() if k not in timed} for row in log.read(folder / "log.csv")] for folder in (whole, cut)]
    assert rows[0] == rows[1]


def test_two_shards_of_a_step_are_resumed_too(tmp_path):
    settings = config(*EVERYTHING_RANDOM, "train.accumulate=2", "train.steps=5", "train.freeze=false")
    whole = _train(settings, tmp_path / "whole")
    with pytest.raises(Cut):
        _train(settings, tmp_path / "cut", source=CutDots(settings.model, 7))
    assert _equal(_weights(whole), _weights(_train(settings, tmp_path / "cut", resume=True)))


def _start(*arguments, **environment):
    command = [sys.executable, "-m", "tests.training.dots", *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_is_unbroken(tmp_path):
    """SIGKILL at a random moment after a random step, twice; the third start ends the run. The moment differs from test run to test run."""
    chance = random.Random(time.time_ns())
    overrides = (*EVERYTHING_RANDOM, "train.steps=20")
    whole = _train(config(*overrides), tmp_path / "whole")
    out = tmp_path / "killed"
    for step in sorted(chance.sample(range(2, 13), 2)):
        process = _start(out, *overrides, "--resume", "--slowly")
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            if (out / "log.csv").exists() and len((out / "log.csv").read_text().splitlines()) > step:
                break
            time.sleep(0.005)
        time.sleep(chance.random() * 0.1)
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
        assert not (out / "model.safetensors").exists()
    assert _equal(_weights(whole), _weights(_train(config(*overrides), out, resume=True)))


def test_a_damaged_state_falls_back_on_the_one_before(tmp_path):
    settings = config(*EVERYTHING_RANDOM)
    whole = _train(settings, tmp_path / "whole")
    with pytest.raises(Cut):
        _train(settings, tmp_path / "cut", source=CutDots(settings.model, 7))
    newest = tmp_path / "cut" / state.NEWEST
    newest.write_bytes(newest.read_bytes()[:1000])
    assert state.read(tmp_path / "cut")[1]["step"] == 4
    assert _equal(_weights(whole), _weights(_train(settings, tmp_path / "cut", resume=True)))


def test_no_sound_state_is_one_line(tmp_path):
    settings = config()
    with pytest.raises(Cut):
        _train(settings, tmp_path / "cut", source=CutDots(settings.model, 3))
    (tmp_path / "cut" / state.NEWEST).write_bytes(b"x")
    with pytest.raises(CausalPoseError, match="no sound state.*--overwrite"):
        _train(settings, tmp_path / "cut", resume=True)


def test_a_finished_run_is_left_alone(tmp_path, capsys):
    settings = config("train.steps=2")
    out = _train(settings, tmp_path / "run")
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.iterdir()}
    assert sorted(before) == ["config.json", "log.csv", "model.json", "model.safetensors"]
    loop.train(settings, Dots(settings.model), out, resume=True)
    assert "finished already (2 steps); nothing to do" in capsys.readouterr().out
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.iterdir()} == before


def test_refusals(tmp_path):
    settings = config("train.steps=2")
    out = _train(settings, tmp_path / "run")
    with pytest.raises(CausalPoseError, match="--resume.*--overwrite"):
        _train(settings, out)
    with pytest.raises(CausalPoseError, match="train.lr was 0.001 and is now 0.5"):
        _train(override(settings, ["train.lr=0.5"]), out, resume=True)
    with pytest.raises(CausalPoseError, match="clips was 24 and is now 8"):
        _train(settings, out, resume=True, source=Dots(settings.model, 8))
    with pytest.raises(CausalPoseError, match="init was None and is now"):
        _train(settings, out, resume=True, init=out)
    with pytest.raises(CausalPoseError, match="needs trained weights"):
        _train(config("train.freeze=true"), tmp_path / "frozen")
    _train(settings, tmp_path / "frozen")  # that start came to nothing, so nothing stands in the way
    (tmp_path / "file").touch()
    with pytest.raises(CausalPoseError, match="is a file"):
        _train(settings, tmp_path / "file")
    (out / "config.json").write_text("{")
    with pytest.raises(CausalPoseError, match="config.json is missing or damaged"):
        _train(settings, out, resume=True)


def test_overwrite_begins_anew(tmp_path):
    out = _train(config("train.steps=2", "train.seed=1"), tmp_path / "run")
    (out / "notes.txt").write_text("mine")
    _train(config("train.steps=3"), out, overwrite=True)
    assert checkpoint.read(out)[2]["steps"] == 3 and len(log.read(out / "log.csv")) == 3
    assert (out / "notes.txt").read_text() == "mine"


def test_resume_may_watch_differently(tmp_path):
    """How often a run saves and logs does not change what it computes."""
    settings = config()
    with pytest.raises(Cut):
        _train(settings, tmp_path / "cut", source=CutDots(settings.model, 5))
    cut = _train(override(settings, ["train.checkpoint_every=3", "train.log_every=5"]), tmp_path / "cut", resume=True)
    assert _equal(_weights(_train(settings, tmp_path / "whole")), _weights(cut))


def test_divergence_is_one_line_and_keeps_the_last_state(tmp_path):
    settings = config("train.lr=1e30", "train.warmup=3", "train.grad_clip=0", "train.checkpoint_every=1")
    with pytest.raises(CausalPoseError, match="diverged at step 1: .* not finite; the state after step 1 .*lower train.lr"):
        _train(settings, tmp_path / "run")
    tensors, document = state.read(tmp_path / "run")
    assert document["step"] == 1 and all(torch.isfinite(t).all() for name, t in tensors.items() if name.startswith("model."))


def test_not_a_number_keeps_the_last_good_state(tmp_path, monkeypatch):
    """The loss of the fifth step (number 4) becomes nan: the state after step 4 stays, sound, and nothing newer is written."""
    settings = config("model.stage=0")
    original, calls = loop.Objective.forward, []

    def forward(self, *arguments, **named):
        loss, parts, output = original(self, *arguments, **named)
        if loss.device.type == "cpu":  # not on the meta device, where operations are counted
            calls.append(1)
        return (loss * float("nan"), parts | {"loss": parts["loss"] * float("nan")}, output) if len(calls) == 5 else (loss, parts, output)

    monkeypatch.setattr(loop.Objective, "forward", forward)
    with pytest.raises(CausalPoseError, match="diverged at step 4: loss, gradient not finite; the state after step 4 is kept"):
        _train(settings, tmp_path / "run")
    monkeypatch.undo()
    assert state.read(tmp_path / "run")[1]["step"] == 4
    assert _equal(_weights(_train(settings, tmp_path / "run", resume=True)), _weights(_train(settings, tmp_path / "whole")))


def test_initialised_run_begins_as_its_source(tmp_path):
    """Stage 1 begins exactly as the single-frame model: with a rate of (nearly) nothing, its heatmaps stay those of stage 0."""
    below = _train(config("model.stage=0", "train.steps=5"), tmp_path / "below")
    above = _train(config("train.steps=1", "train.lr=1e-12"), tmp_path / "above", init=below)
    clip = Dots(config().model).batch(torch.arange(4))
    single, fused = (checkpoint.load(folder)[0](clip.frames).heatmaps for folder in (below, above))
    assert torch.allclose(single, fused, atol=1e-4)
    assert checkpoint.read(above)[2]["init"] == str(below)


@pytest.mark.parametrize("augment", ["true", "false"])
def test_a_frozen_backbone_stays(tmp_path, augment):
    """With and without augmentation, i.e. embedding every view and caching the tokens."""
    below = _train(config("model.stage=0", "train.steps=2"), tmp_path / "below")
    above = _train(config("train.steps=4", "train.freeze=true", f"train.augment={augment}"), tmp_path / "above", init=below)
    before, after = _weights(below), _weights(above)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items() if name.startswith("backbone."))
    assert not torch.equal(before["head.layers.out.weight"], after["head.layers.out.weight"])


def test_cached_tokens_train_as_embedded_ones(tmp_path, monkeypatch):
    """The cache is a speed path: its run differs from embedding every step by float16 rounding only."""
    below = _train(config("model.stage=0", "train.steps=2"), tmp_path / "below")
    settings = config("train.steps=4", "train.freeze=true", "train.augment=false")
    cached = _train(settings, tmp_path / "cached", init=below)
    monkeypatch.setattr(loop.tokens, "LIMIT_BYTES", 0)
    embedded = _train(settings, tmp_path / "embedded", init=below)
    losses = [[row["pose"] for row in log.read(folder / "log.csv")] for folder in (cached, embedded)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_the_average_is_what_is_saved(tmp_path):
    runs = [_train(config("train.steps=4", f"train.ema={ema}"), tmp_path / str(ema)) for ema in (0.0, 0.9)]
    assert log.read(runs[0] / "log.csv")[-1]["pose"] == log.read(runs[1] / "log.csv")[-1]["pose"]
    assert not _equal(*map(_weights, runs))


def test_validation_changes_nothing(tmp_path):
    settings = config(*EVERYTHING_RANDOM)
    watched = _train(settings, tmp_path / "watched", val=Dots(settings.model, 6, seed=9))
    assert _equal(_weights(watched), _weights(_train(settings, tmp_path / "alone")))
    rows = log.read(watched / "log.csv")
    assert [row["step"] for row in rows if row["val_pck"] is not None] == [2, 4, 6, 8, 10]
    assert 0 <= checkpoint.read(watched)[2]["metrics"]["val_pck"] <= 100


def test_validation_follows_the_checkpoints_and_not_the_log(tmp_path, monkeypatch):
    """Checkpoints after every third step and rows after every fifth: both have rows. The last value is not measured twice, and the hour
    that a validation takes is none of training's."""
    hours, calls = [0.0], []
    clock = time.perf_counter
    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock() + 3600 * hours[0])

    def slow(*arguments):
        calls.append(arguments)
        hours[0] += 1
        return float(len(calls))

    monkeypatch.setattr(loop, "validate", slow)
    settings = config("model.stage=0", "train.checkpoint_every=3", "train.log_every=5")
    out = _train(settings, tmp_path / "run", val=Dots(settings.model, 6))
    rows = log.read(out / "log.csv")
    assert [(row["step"], row["val_pck"]) for row in rows] == [(3, 1), (5, None), (6, 2), (9, 3), (10, 4)]
    assert checkpoint.read(out)[2]["metrics"]["val_pck"] == 4 and len(calls) == 4
    assert all(row["seconds"] < 600 and row["clips_per_second"] > 0.05 for row in rows)


def test_the_first_row_after_a_resumption_counts_the_seconds_of_its_steps(tmp_path, monkeypatch):
    """A step is a minute long by this clock; rows come after steps 5 and 10, the run is broken off in step 8 and goes on from 6."""
    minutes = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: minutes[0])
    step = loop._Run._step

    def minute(run):
        shown = step(run)
        minutes[0] += 60
        return shown

    monkeypatch.setattr(loop._Run, "_step", minute)
    settings = config("model.stage=0", "train.log_every=5")
    with pytest.raises(Cut):
        _train(settings, tmp_path / "cut", source=CutDots(settings.model, 7))
    rows = log.read(_train(settings, tmp_path / "cut", resume=True) / "log.csv")
    assert [row["seconds"] for row in rows] == [300, 600]
    assert [row["clips_per_second"] for row in rows] == [pytest.approx(4 / 60, rel=1e-4)] * 2


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_one_summed_batch_equals_its_shards(tmp_path, stage):
    """Four shards of two clips are a batch of eight, also where shards differ in how many joints are labelled."""
    common = (f"model.stage={stage}", "train.augment=false", "train.steps=4", "model.mcl.mask=false", "model.mcl.noise=false")
    # Nothing drawn, nothing decided by a rounding error, and importance far from uniform at once.
    common += ("model.fte.train_selection=all", "model.fte.clustering=keep", "model.fte.supervision_weight=10.0", "train.warmup=0")
    whole = _train(config(*common, "train.batch=8"), tmp_path / "whole", source=Dots(config().model, unlabelled=True))
    shards = config(*common, "train.batch=2", "train.accumulate=4")
    shards = _train(shards, tmp_path / "shards", source=Dots(config().model, unlabelled=True))
    losses = [[row["loss"] for row in log.read(folder / "log.csv")] for folder in (whole, shards)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_bf16_runs_after_float32_in_one_process(tmp_path):
    for precision in ("no", "bf16", "no"):
        out = _train(config("train.steps=2", f"train.precision={precision}"), tmp_path / "run", overwrite=True)
        assert all(tensor.dtype == torch.float32 for tensor in _weights(out).values())


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_training_step_computes_in_the_precision_asked_for(tmp_path, monkeypatch, stage):
    """Autocast is on inside the objective, not only around it, and is what gives the heatmaps their type."""
    seen, forward = [], Objective.forward

    def watched(self, *arguments, **named):
        loss, parts, output = forward(self, *arguments, **named)
        if not loss.is_meta:  # counting operations is no training
            kinds = self.model.head.layers.out.weight.dtype, output.heatmaps.dtype, loss.dtype
            seen.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), *kinds))
        return loss, parts, output

    monkeypatch.setattr(Objective, "forward", watched)
    single, half = torch.float32, torch.bfloat16
    for precision in ("no", "bf16"):
        _train(config(f"model.stage={stage}", "train.steps=1", f"train.precision={precision}"), tmp_path / precision)
    (off, _, *plain), mixed = seen  # without autocast the type it would have means nothing
    assert (off, *plain) == (False, single, single, single)
    assert mixed == (True, half, single, half, single)


def test_validation_runs_in_the_precision_of_training(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(loop, "validate", lambda *_: seen.append(torch.is_autocast_enabled("cpu")) or 0.0)
    for precision in ("no", "bf16"):
        settings = config("model.stage=0", "train.steps=1", f"train.precision={precision}")
        _train(settings, tmp_path / precision, val=Dots(settings.model, 6))
    assert seen == [False, True]


def test_the_oracle_needs_part_masks(tmp_path):
    settings = config("model.stage=2", 'model.fte.selector="oracle"', "train.steps=1")
    with pytest.raises(CausalPoseError, match="part masks"):
        _train(settings, tmp_path / "run")
