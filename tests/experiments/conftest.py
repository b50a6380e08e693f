"""Small models and a cache of their own for the experiments' tests."""

from pathlib import Path

import pytest

from causalpose.config import override, preset
from causalpose.model.cmpose import CMPose
from causalpose.training import checkpoint

# A quarter of the tiny preset's picture and a model of one narrow block each: a cell takes about a second.
SMALL = (
    "model.height=32",
    "model.width=24",
    "model.backbone.width=32",
    "model.backbone.depth=1",
    "model.backbone.heads=2",
    "model.encoder.depth=1",
    "model.encoder.heads=2",
    "model.head.channels=16",
    "model.fte.depth=1",
    "model.fte.heads=2",
)


@pytest.fixture(scope="session", autouse=True)
def scene_cache(tmp_path_factory):
    """Scenes that these tests render are kept for their session only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUSALPOSE_CACHE", str(tmp_path_factory.mktemp("scenes")))
        yield


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory) -> dict[int, Path]:
    """Untrained checkpoints of stages 0 and 1 by stage."""
    folder = tmp_path_factory.mktemp("weights")
    out = {}
    for stage in (0, 1):
        config = override(override(preset("tiny"), SMALL), {"model.stage": stage})
        out[stage] = checkpoint.save(folder / f"small-{stage}.safetensors", CMPose(config.model), config, {})
    return out


@pytest.fixture
def asked_study(asked) -> dict:
    """The same for a study's notebook, whose cells start from a small backbone."""
    asked["backbones"] = asked.pop("init")
    return asked


@pytest.fixture
def asked(tmp_path, small_weights) -> dict:
    """The namespace of a notebook that runs a small model in a temporary folder."""
    return {
        "scale": "smoke",
        "steps": 2,
        "batch": 4,
        "clips": 8,
        "test_clips": 4,
        "overrides": " ".join(SMALL),
        "init": str(small_weights[0]),
        "out": str(tmp_path / "runs"),
        "results": str(tmp_path / "results"),
    }
