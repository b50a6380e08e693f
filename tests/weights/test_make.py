"""`make weights` on miniature recipes, and the recipes themselves."""

import torch

from causalpose.config import differing_keys
from causalpose.training import checkpoint
from causalpose.weights import NAMES, make
from tests.training.dots import SMALL


def test_recipes_are_the_shipped_names_in_order():
    assert tuple(recipe.name for recipe in make.RECIPES) == NAMES
    assert [recipe.config().model.stage for recipe in make.RECIPES] == [0, 0, 1, 2]
    assert [recipe.init for recipe in make.RECIPES] == [None, None, "tiny-backbone", "tiny-stage1"]
    first, twin = (recipe.config() for recipe in make.RECIPES[:2])
    assert sorted(differing_keys(first, twin)) == ["data.seed", "train.seed"]


def test_miniature(tmp_path, monkeypatch, capsys):
    """All stages, each from the stored file of the one before; asked again, nothing is trained anew."""
    monkeypatch.setenv("CAUSALPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(make, "VAL_CLIPS", 4)
    small = (*SMALL, "train.steps=2", "data.clips=8")
    stages = [recipe.config().model.stage for recipe in make.RECIPES]
    recipes = tuple(make.Recipe(r.name, r.init, (f"model.stage={stage}", *small)) for stage, r in zip(stages, make.RECIPES, strict=True))
    monkeypatch.setattr(make, "RECIPES", recipes)
    arguments = ["--runs", str(tmp_path / "runs"), "--into", str(tmp_path / "into")]
    assert make.main(arguments) == 0
    stored = {name: (tmp_path / "into" / f"{name}.safetensors").read_bytes() for name in NAMES}
    for recipe, stage, name in zip(recipes, stages, NAMES, strict=True):
        model, settings, provenance = checkpoint.load(tmp_path / "into" / name)
        assert settings.model.stage == stage and provenance["init"] == recipe.init and provenance["steps"] == 2
        assert "val_pck" in provenance["metrics"] and provenance["source"]["clips"] == 8
        assert all(torch.equal(tensor, tensor.half().float()) for tensor in model.state_dict().values())
    capsys.readouterr()
    assert make.main(arguments) == 0
    assert "finished already" in capsys.readouterr().out
    assert {name: (tmp_path / "into" / f"{name}.safetensors").read_bytes() for name in NAMES} == stored


def test_a_missing_stage_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CAUSALPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(make, "VAL_CLIPS", 4)
    recipe = make.Recipe("tiny-stage1", "tiny-backbone", ("model.stage=1", *SMALL, "data.clips=8"))
    monkeypatch.setattr(make, "RECIPES", (recipe,))
    assert make.main(["--only", "tiny-stage1", "--runs", str(tmp_path / "runs"), "--into", str(tmp_path / "into")]) == 2
    assert capsys.readouterr().err.startswith("error: checkpoint ")
