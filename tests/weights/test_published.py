"""What is no weights file is one clear line, and nothing in it runs."""

import argparse

import pytest
import torch
from safetensors.torch import save_file

from causalpose.errors import CausalPoseError
from causalpose.training import checkpoint
from causalpose.weights import hub, published


def _refused(path, *words):
    with pytest.raises(CausalPoseError) as caught:
        published.read(path)
    message = str(caught.value)
    assert path.name in message and all(word in message for word in words), message


def test_nothing_in_a_pickle_runs(tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "was-run"), "w"))

    torch.save({"state_dict": {"a": torch.zeros(2)}, "hook": Attack()}, tmp_path / "zip.pth")
    torch.save({"hook": Attack()}, tmp_path / "plain.pth", _use_new_zipfile_serialization=False)
    for name in ("zip.pth", "plain.pth"):
        _refused(tmp_path / name, "open", "safetensors")
    assert not (tmp_path / "was-run").exists()


def test_a_whole_module_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    _refused(tmp_path / "module.pth", "torch.nn.modules.linear.Linear", "not loaded")


@pytest.mark.parametrize("keep", [0.5, 0.99])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_truncated(tmp_path, suffix, keep):
    path = tmp_path / f"weights.{suffix}"
    tensors = {"a": torch.zeros(1000), "b": torch.zeros(50)}
    torch.save(tensors, path) if suffix == "pth" else save_file(tensors, path)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    _refused(path, "truncated or damaged", "download it again")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"just some text, no weights at all", "no weights file"),
        (b"\x80\x02" + b"\x00" * 500, "damaged"),
    ],
)
def test_other_files(tmp_path, content, words):
    path = tmp_path / "vitpose.pth"
    path.write_bytes(content)
    _refused(path, words)


def test_no_tensors(tmp_path):
    torch.save({"epoch": 3, "optimizer": {"lr": 1.0}}, tmp_path / "x.pth")
    _refused(tmp_path / "x.pth", "holds no tensors")
    torch.save([torch.zeros(1)], tmp_path / "y.pth")
    _refused(tmp_path / "y.pth", "holds no tensors")


def test_command_lines_beside_weights_are_harmless(tmp_path):
    """DINO's and MAE's training checkpoints carry an argparse.Namespace."""
    torch.save({"args": argparse.Namespace(lr=0.1), "model": {"a": torch.ones(2)}}, tmp_path / "x.pth")
    assert torch.equal(published.read(tmp_path / "x.pth")["a"], torch.ones(2))


def test_safetensors_under_another_name(tmp_path):
    """The content decides, not the suffix."""
    save_file({"a": torch.ones(2)}, tmp_path / "x.pth")
    assert published.read(tmp_path / "x.pth").keys() == {"a"}


def test_evaluation_says_what_these_are_for(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "x.pth")
    with pytest.raises(CausalPoseError, match="no CausalPose checkpoint.*--init"):
        checkpoint.load(tmp_path / "x.pth")


def test_hub_names(tmp_path, monkeypatch):
    """Owner, name and file reach the hub's own client; without network and cache the remedy is a local file."""
    import huggingface_hub

    asked = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repository, file: asked.append((repository, file)) or str(tmp_path))
    assert hub.fetch("hf-hub:timm/vit_base_patch16_224.mae") == tmp_path
    hub.fetch("hf-hub:owner/name/folder/weights.pth")
    assert asked == [("timm/vit_base_patch16_224.mae", "model.safetensors"), ("owner/name", "folder/weights.pth")]
    with pytest.raises(CausalPoseError, match="names no weights of the hub"):
        checkpoint.locate("hf-hub:name")

    def offline(*_):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(CausalPoseError, match="no network.*local file"):
        checkpoint.locate("hf-hub:owner/name")
