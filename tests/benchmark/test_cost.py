"""Costs on paper against PyTorch's own counter, against memory that was really allocated, and against arithmetic by hand."""

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from causalpose.benchmark import cost
from causalpose.config import preset
from causalpose.errors import CausalPoseError
from causalpose.model import attention, backbone
from causalpose.model.cmpose import CMPose

SMALL = ["model.stage=2", "model.height=32", "model.width=24", "model.backbone.width=32", "model.backbone.depth=2"]


def small(*more):
    return preset("tiny", [*SMALL, *more]).model


@pytest.fixture(scope="module")
def costs():
    return cost.clip_cost(small(), dtype=torch.float32)


def test_a_linear_layer_by_hand():
    """Batch 4, 8 -> 16: 2·4·8·16 operations; the traffic is input, weight, bias and output in float32."""
    with torch.device("meta"):
        layer, x = nn.Linear(8, 16), torch.empty(4, 8)
    with torch.no_grad(), cost.Meter() as meter:
        layer(x)
    assert meter.flops == 2 * 4 * 8 * 16
    assert meter.traffic == 4 * (4 * 8 + 16 * 8 + 16 + 4 * 16)


def test_an_attention_matrix_is_neither_moved_nor_kept():
    x = torch.rand(2, 6, 6, requires_grad=True)
    with cost.Meter({6}) as fused, cost.Kept([x], {6}) as kept:
        x.exp()
    with cost.Meter() as written, cost.Kept([x]) as all_:
        x.exp()
    assert fused.traffic == 0 and written.traffic == 2 * 4 * 72
    assert (kept.bytes, kept.attention_bytes, all_.bytes) == (0, 288, 288)


def test_roofline():
    """1e12 operations at 1e15/s take 1 ms; 1e9 bytes at 1e12/s as well; the longer one counts."""
    device = cost.Device("d", 1e15, 1e12, "made up")
    assert device.seconds(1e12, 0) == pytest.approx(1e-3) and device.seconds(1e12, 5e9) == pytest.approx(5e-3)
    assert device.seconds(1e12, 1e9, compute=0.5) == pytest.approx(2e-3)


def test_operations_are_those_of_pytorchs_counter(costs):
    config = small()
    model = CMPose(config).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.rand(1, config.frames, 3, config.height, config.width))
    assert costs["forward_flops"] == counter.get_total_flops()
    assert costs["parameters"] == sum(p.numel() for p in model.parameters())
    assert 2 < costs["step_flops"] / costs["forward_flops"] < 4


@pytest.mark.parametrize("fused", [False, True])
def test_activation_memory_is_what_a_real_step_allocates(costs, monkeypatch, fused):
    """What lives on after a forward pass on the CPU, as the profiler counts allocations, is what was kept and the outputs: with the
    attention matrices where attention is written out, without them where it is fused."""
    for module in (attention, backbone):
        monkeypatch.setattr(module, "fused_pays", lambda *_: fused)
    config = small()
    model = CMPose(config).train()
    frames = torch.rand(1, config.frames, 3, config.height, config.width)
    model(frames)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as measured:
        output = model(frames)
    allocated = sum(event.self_cpu_memory_usage for event in measured.key_averages()) / 1e6
    assert output.heatmaps.requires_grad
    assert costs["activation_mb" if fused else "explicit_mb"] == pytest.approx(allocated, rel=0.1)
    assert costs["activation_mb"] < costs["explicit_mb"]


def test_more_frames_and_more_tokens_cost_more():
    table = cost.cost_table(["tiny"], [1, 3], [0.3, 1.0], [(64, 48)])
    assert len(table) == 4 and table["parameters"].nunique() == 2  # the temporal embedding has a row a frame
    by = table.set_index(["frames", "keep_rate"])
    assert by.loc[(3, 0.3), "forward_flops"] > 2.5 * by.loc[(1, 0.3), "forward_flops"]
    assert (by.xs(1.0, level=1)["forward_flops"] > by.xs(0.3, level=1)["forward_flops"]).all()
    assert (table["step_practice_ms"] > table["step_ms"]).all() and (table["step_ms"] > table["forward_ms"]).all()
    with pytest.raises(CausalPoseError, match="at least one preset"):
        cost.cost_table([])


def test_modules_flops_of_a_linear_layer_and_of_two():
    """Batch 4, 8 -> 16: 2·4·8·16; a chain adds up; the module keeps no gradient."""
    one, x = nn.Linear(8, 16), torch.randn(4, 8)
    assert cost.modules_flops(one, x) == 2 * 4 * 8 * 16
    assert cost.modules_flops(nn.Sequential(one, nn.Linear(16, 2)), x) == 2 * 4 * 8 * 16 + 2 * 4 * 16 * 2
    assert one.weight.grad is None
