"""The crop benchmark: the plain loop gives the same crops, every case is there, and sharing images pays."""

import numpy as np
import pytest
import torch

from causalpose.benchmark import crops
from causalpose.config import DataConfig, ModelConfig
from causalpose.data.source import PersonSource


def test_the_reference_cuts_the_same_crops(tmp_path):
    """At full size to the last bit; where JPEGs are decoded at a reduced size, to a grey level or two."""
    crops.write_frames(tmp_path, 4, 3, np.random.default_rng(0))
    for config, tolerance in ((ModelConfig(height=256, width=192), 0.0), (ModelConfig(), 1.0)):
        source = PersonSource(tmp_path, "train", config, DataConfig(dilation=1))
        clips = source.batch(range(6))
        plain = torch.stack([crops.plain_clip(source, index) for index in range(6)])
        difference = (clips.frames.int() - plain.int()).abs().float()
        assert difference.mean() <= tolerance and plain.float().std() > 20


def test_rows_and_ratios():
    table = crops.crops_benchmark(images=5, persons=4, frames=3, height=64, width=48, batch=8, turns=1)
    assert tuple(table.columns) == crops.COLUMNS and set(table["section"]) == {"crops"}
    rates = table[table["quantity"] == "crops per core"].set_index("case")
    assert list(rates.index) == [
        "apart", "apart, augmented", "together", "together, augmented", "apart, 64x48", "apart, 64x48, augmented"
    ]  # fmt: skip
    assert (rates["value"] > 0).all() and rates["ratio"].to_numpy() == pytest.approx(rates["value"] / rates["reference"])
    assert rates.loc["together", "ratio"] > 1.5, "an image that several persons share is decoded once"
    size = table.set_index("case").loc["JPEG frame", "value"]
    assert 100 < size < 300, "KiB, as photographs of 1280x720 have"


def test_threads_are_given_back():
    torch.set_num_threads(2)
    try:
        crops.crops_benchmark(images=3, persons=2, frames=1, height=32, width=32, batch=2, turns=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
