"""The benchmark of stage 1's training step."""

import pytest
import torch

from causalpose.benchmark import mcl

SMALL = (
    "model.height=32", "model.width=24", "model.backbone.width=32", "model.backbone.depth=1", "model.backbone.heads=2",
    "model.encoder.depth=1", "model.encoder.heads=2", "model.head.channels=16", "model.fte.depth=1", "model.fte.heads=2",
)  # fmt: skip


def test_rows_and_ratios():
    torch.set_num_threads(1)
    table = mcl.mcl_benchmark(batch=2, turns=1, overrides=SMALL)
    assert tuple(table.columns) == mcl.COLUMNS and set(table["section"]) == {"encoder", "attention", "branches", "methods"}
    assert (table["value"] > 0).all() and table["ratio"].to_numpy() == pytest.approx((table["value"] / table["reference"]).to_numpy())
    branches = table[table["section"] == "branches"].set_index("case")["ratio"]
    assert len(branches) == 4 * len(mcl.BRANCHES) and branches.filter(regex=r"^clean \(").eq(1).all()
    methods = table[table["section"] == "methods"]["case"]
    assert {case.split(" (")[0] for case in methods} == {arm.name for arm in mcl.WHOLE_METHOD.arms if arm.trained}


def test_the_references_compute_the_same_kind_of_thing():
    """PyTorch's encoder has as many parameters as ours but for the temporal embedding and its norms' placing."""
    config = mcl.build("tiny").model
    width, e = config.backbone.width, config.encoder
    layer = torch.nn.TransformerEncoderLayer(width, e.heads, int(width * e.mlp_ratio), 0.0, "gelu", batch_first=True, norm_first=True)
    plain = torch.nn.TransformerEncoder(layer, e.depth, enable_nested_tensor=False)
    count = sum(p.numel() for name, p in mcl.Encoder(config).named_parameters() if name != "temporal")
    assert sum(p.numel() for p in plain.parameters()) == count
