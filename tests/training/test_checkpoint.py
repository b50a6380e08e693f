"""Checkpoints: what is written is what is read, and every fault is one clear line."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from causalpose import weights
from causalpose.config import preset
from causalpose.data.files import replacing
from causalpose.errors import CausalPoseError
from causalpose.model.cmpose import CMPose
from causalpose.training import checkpoint, files
from tests.training.dots import config


def _saved(folder, *overrides, half=False):
    settings = config(*overrides)
    model = CMPose(settings.model)
    return model, settings, checkpoint.save(folder, model, settings, {"seed": 3}, half=half)


def _refused(match, function, *arguments, **named):
    with pytest.raises(CausalPoseError, match=match) as caught:
        function(*arguments, **named)
    assert "\n" not in str(caught.value)


def test_round_trip(tmp_path):
    model, settings, path = _saved(tmp_path / "run", "model.stage=2")
    assert path == tmp_path / "run" / "model.safetensors" and path.with_suffix(".json").is_file()
    for given in (tmp_path / "run", path, path.with_suffix(""), path.with_suffix(".json")):
        loaded, read, provenance = checkpoint.load(given)
        assert read == settings and provenance == {"seed": 3} and not loaded.training
        assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True))


def test_half_precision_is_half_the_size_and_loads_as_float32(tmp_path):
    model, _, whole = _saved(tmp_path / "whole")
    checkpoint.save(tmp_path / "half", model, config(), {}, half=True)
    half = tmp_path / "half" / "model.safetensors"
    assert half.stat().st_size < 0.62 * whole.stat().st_size
    loaded, _, _ = checkpoint.load(half)
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, model.state_dict()[name].half().float())


def test_loading_leaves_the_random_stream_alone(tmp_path):
    _, _, path = _saved(tmp_path / "run")
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    checkpoint.load(path)
    assert torch.equal(torch.rand(3), expected)


def test_missing(tmp_path):
    _refused("not found.*tiny-backbone", checkpoint.load, tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    _refused("no model.safetensors in folder", checkpoint.load, tmp_path / "empty")
    (tmp_path / "empty" / "state.safetensors").touch()
    _refused("not finished.*--resume", checkpoint.load, tmp_path / "empty")


@pytest.mark.parametrize("keep", [0, 5, 300, 0.5, 0.999])
def test_truncated(tmp_path, keep):
    _, _, path = _saved(tmp_path / "run")
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    _refused("truncated or damaged", checkpoint.load, path)


def test_foreign_file(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    _refused("no CausalPose checkpoint", checkpoint.load, tmp_path / "foreign.safetensors")


def test_wrong_shape_names_the_tensor(tmp_path):
    _, settings, path = _saved(tmp_path / "run")
    tensors = load_file(path)
    tensors["head.layers.out.bias"] = torch.zeros(4)
    checkpoint.save(path, tensors, settings, {})
    _refused(r"head\.layers\.out\.bias has the wrong shape \(\[4\] in the file, \[15\]", checkpoint.load, path)
    del tensors["head.layers.out.bias"]
    checkpoint.save(path, tensors, settings, {})
    _refused("lacks 1 tensors", checkpoint.load, path)


def test_edited_copy_is_noticed(tmp_path):
    _, _, path = _saved(tmp_path / "run")
    copy = path.with_suffix(".json")
    document = json.loads(copy.read_text())
    document["config"]["model"]["frames"] = 5
    copy.write_text(json.dumps(document))
    _refused("was edited", checkpoint.load, path)
    copy.write_text("{")
    _refused("delete it", checkpoint.load, path)
    copy.unlink()
    checkpoint.load(path)


@pytest.mark.parametrize("key", ["stage=0", "frames=5", "height=64", "width=48", 'keypoints="coco17"'])
def test_expectations_are_named(tmp_path, key):
    _, _, path = _saved(tmp_path / "run")
    expected = config(f"model.{key}").model
    _refused(f"does not fit: {key.split('=')[0]} is", checkpoint.load, path, expect=expected)


def test_unknown_key_of_another_version(tmp_path):
    model, _, path = _saved(tmp_path / "run")
    document = json.loads(path.with_suffix(".json").read_text())
    document["config"]["model"]["wings"] = 2
    path.with_suffix(".json").unlink()
    files.write_tensors(path, files.portable(model.state_dict()), document)
    _refused("unknown key 'wings' in model.safetensors: config.model", checkpoint.load, path)


def test_values_that_are_not_finite_are_not_saved(tmp_path):
    model, settings, path = _saved(tmp_path / "run")
    before = path.read_bytes()
    with torch.no_grad():
        model.head.layers.out.bias[0] = float("nan")
    _refused("not finite", checkpoint.save, path, model, settings, {})
    assert path.read_bytes() == before


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    model, settings, path = _saved(tmp_path / "run")
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError):
        checkpoint.save(path, CMPose(settings.model), settings, {})
    monkeypatch.undo()
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == [path.name], "no temporary is left"
    loaded, _, _ = checkpoint.load(path)
    assert torch.equal(loaded.head.layers.out.bias, model.head.layers.out.bias)


def test_written_files_are_on_the_disk_and_as_private_as_the_user_asks(tmp_path, monkeypatch):
    """Synced before the name points at them, with the umask's permissions; what a killed run left is overwritten."""
    (tmp_path / "a.json.tmp").write_text("what a killed run left")
    synced, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle) or sync(handle))
    before = os.umask(0o027)
    try:
        files.write_json(tmp_path / "a.json", {"a": 1})
        files.write_tensors(tmp_path / "b.safetensors", {"b": torch.zeros(1)}, {})
        with replacing(tmp_path / "c.txt") as temporary:
            temporary.write_text("c")
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == dict.fromkeys(
        ("a.json", "b.safetensors", "c.txt"), 0o640
    )
    assert len(synced) == 3


def test_initialise_from_the_stage_below(tmp_path):
    below, _, path = _saved(tmp_path / "run", "model.stage=0")
    model = CMPose(config("model.stage=1").model)
    report = checkpoint.initialise(model, path)
    assert set(report.used) == set(below.state_dict()) and not report.skipped
    assert {name.split(".")[0] for name in report.new} == {"encoder", "auxiliary"}
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in below.state_dict().items())
    assert "0 left aside" in str(report) and "(auxiliary, encoder)" in str(report)
    shipped = CMPose(preset("tiny", ["model.stage=1"]).model)
    assert str(checkpoint.initialise(shipped, "tiny-backbone")).startswith("tiny-backbone: "), "as it was named, wherever it lies"


def test_initialise_reports_what_does_not_fit(tmp_path):
    """Another head: its layers start fresh, the rest is used."""
    _, _, path = _saved(tmp_path / "run", "model.stage=0", "model.head.kind=simple")
    report = checkpoint.initialise(CMPose(config("model.stage=0").model), path)
    assert set(report.skipped) == {"head.layers.out.weight"} and all(name.startswith("head.layers.") for name in report.new)


@pytest.mark.parametrize(("keypoints", "known"), [("coco17", 13), ("posetrack18", 15)])
def test_initialise_takes_keypoints_over_by_name(tmp_path, keypoints, known):
    """Another keypoint set: what belongs to a joint goes to the same joint, the others start fresh."""
    below, _, path = _saved(tmp_path / "run", "model.stage=2", f'model.keypoints="{keypoints}"')
    model = CMPose(config("model.stage=2").model)
    before = model.state_dict()["importance.keypoint_tokens"].clone()
    report = checkpoint.initialise(model, path)
    for name, dim in (("head.layers.out.weight", 0), ("head.layers.out.bias", 0), ("importance.keypoint_tokens", 1)):
        found, theirs = model.state_dict()[name], below.state_dict()[name]
        assert torch.equal(found.select(dim, 14), theirs.select(dim, 16))  # right_ankle is last in both
        assert torch.equal(found.select(dim, 0), theirs.select(dim, 0))  # and the nose first
    same = (model.importance.keypoint_tokens == before).all(-1)[0]
    assert same.sum() == 15 - known and not report.skipped
    assert ("new: head_bottom, head_top" in str(report)) == (known == 13)


def test_initialise_refuses_another_backbone(tmp_path):
    _, _, path = _saved(tmp_path / "run", "model.stage=0", "model.backbone.width=64")
    _refused("backbone.width is 64 there and 32 here", checkpoint.initialise, CMPose(config().model), path)
    _, _, path = _saved(tmp_path / "tall", "model.stage=0", "model.height=64")
    _refused("model.height is 64 there and 32 here", checkpoint.initialise, CMPose(config().model), path)


@pytest.mark.parametrize(
    ("stage", "key", "there", "here"),
    [(0, "backbone.heads", 2, 4), (0, "backbone.padding", 0, 2), (1, "encoder.heads", 2, 4), (2, "fte.heads", 2, 4)],
)
def test_initialise_refuses_what_shapes_do_not_tell(tmp_path, stage, key, there, here):
    """All tensors fit, but another number of heads cuts them differently, and padding moves the patches."""
    common = (f"model.stage={stage}", "model.backbone.stem=patch")
    _, _, path = _saved(tmp_path / "other", *common, f"model.{key}={there}")
    model = CMPose(config(*common, f"model.{key}={here}").model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _refused(f"model.{key} is {there} there and {here} here", checkpoint.initialise, model, path)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_heads_of_what_does_not_go_over_may_differ(tmp_path):
    _, _, path = _saved(tmp_path / "below", "model.stage=0")
    checkpoint.initialise(CMPose(config("model.stage=2", "model.encoder.heads=4", "model.fte.heads=4").model), path)


def test_names_of_shipped_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    assert weights.available() == ()
    _refused("make weights", checkpoint.load, "tiny-stage1")
    model, settings, _ = _saved(tmp_path / "run")
    checkpoint.save(tmp_path / "tiny-stage1.safetensors", model, settings, {}, half=True)
    assert weights.available() == ("tiny-stage1",)
    assert checkpoint.locate("tiny-stage1") == tmp_path / "tiny-stage1.safetensors"
    _refused("unknown weights 'x'; known: tiny-backbone", weights.path, "x")


def test_origin_is_json(tmp_path):
    origin = checkpoint.describe_origin(config("train.seed=7"), 12, metrics={"val_pck": 1.5})
    assert origin["seed"] == 7 and origin["steps"] == 12 and origin["torch"] == torch.__version__
    assert json.loads(json.dumps(origin)) == origin
