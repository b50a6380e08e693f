"""Operations counted, peak and MFU."""

import pytest
import torch

from causalpose import config as choices
from causalpose.config import preset
from causalpose.training import log, loop
from causalpose.training.utilisation import measured_peak, training_flops
from tests.training.dots import Dots, config


def test_count_by_hand():
    """ViT-S, one frame of 192 tokens: a block multiplies 12 C² + 2 N C numbers for each token, and two operations are one of these.

    The backward pass takes twice the forward (but for the stem, whose input needs no gradient).
    """
    C, N, depth, head = 384, 192, 12, 256
    block = 12 * C**2 + 2 * N * C
    stem = 3 * 16**2 * C
    deconvolutions = 16 * C * head + 4 * 16 * head * head + 16 * 15 * head  # per token: 4x4 kernels onto 4 and 16 places, then 1x1
    forward = 2 * N * (depth * block + stem + deconvolutions)
    found = training_flops(preset("small", ["model.stage=0"]))
    assert found == 3 * forward - 2 * N * stem


def test_more_work_counts_more():
    base = training_flops(config("model.stage=1"))
    assert training_flops(config("model.stage=1", "model.mcl.noise=false")) < base
    assert training_flops(config("model.stage=1", "train.freeze=true")) < base
    assert training_flops(config("model.stage=1", "train.freeze=true"), True) < training_flops(config("model.stage=1", "train.freeze=true"))
    frozen = ("model.stage=2", "train.freeze=true")
    assert training_flops(config(*frozen, "train.freeze_encoder=true"), True) < training_flops(config(*frozen), True)
    assert training_flops(config("model.stage=1", "model.backbone.checkpointing=true")) == base  # computed again is not more work done


@pytest.mark.parametrize("selector", choices.SELECTORS)
def test_every_selector_is_counted(selector):
    assert training_flops(config("model.stage=2", f"model.fte.selector={selector}")) > 0


@pytest.mark.parametrize("name", ["base", "large", "huge"])
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_training_step_at_full_size_on_meta(name, stage):
    """Forward and backward of the whole preset, nothing reduced, with shapes alone."""
    if name == "base" or stage == 1:
        assert training_flops(preset(name, [f"model.stage={stage}"])) > 10**11


def test_log_has_throughput_and_mfu(tmp_path):
    """MFU is throughput times operations over the stated peak, in per cent."""
    settings = config("train.steps=3", "train.peak_tflops=0.5")
    loop.train(settings, Dots(settings.model), tmp_path, progress=False)
    for row in log.read(tmp_path / "log.csv"):
        assert row["mfu"] == pytest.approx(100 * row["clips_per_second"] * training_flops(settings) / 0.5e12, rel=1e-4)


def test_peak_is_measured():
    """Faster than ten million operations a second, slower than ten thousand million million, on any machine."""
    assert 1e7 < measured_peak(torch.device("cpu"), "no") < 1e16


def test_without_a_stated_peak_mfu_is_a_share_of_the_measured_one(tmp_path):
    """As every run is that states none. A small model on noise reaches some of it and never all."""
    settings = config("train.steps=3")
    assert settings.train.peak_tflops == 0
    loop.train(settings, Dots(settings.model), tmp_path, progress=False)
    peak = measured_peak(torch.device("cpu"), "no")  # measured once a process
    for row in log.read(tmp_path / "log.csv"):
        assert row["mfu"] == pytest.approx(100 * row["clips_per_second"] * training_flops(settings) / peak, rel=1e-4)
        assert 0 < row["mfu"] < 100
