"""Graphs of the inference path, held against the model; and blocks that compile whole."""

import pytest
import torch

from causalpose.config import preset
from causalpose.errors import CausalPoseError
from causalpose.model import export
from causalpose.model.attention import Block
from causalpose.model.cmpose import CMPose
from tests.training.dots import config


def _model(*overrides: str) -> CMPose:
    """A small model shaken away from its start, where whole branches are zero."""
    torch.manual_seed(0)
    model = CMPose(config(*overrides).model).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("suffix", [".pt2", pytest.param(".onnx", marks=pytest.mark.slow)])
def test_the_graph_is_the_model(tmp_path, stage, suffix):
    """`write` measures on batches of one and three; the file it leaves is a whole one."""
    path = tmp_path / f"model{suffix}"
    assert export.write(_model(f"model.stage={stage}"), path) < export.TOLERANCE
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if suffix == ".pt2":
        frames = export.example(config(f"model.stage={stage}").model, 5, seed=9)
        model = _model(f"model.stage={stage}")
        with torch.no_grad():
            torch.testing.assert_close(torch.export.load(path).module()(frames), model(frames).heatmaps, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("overrides", [("model.fte.selector=random",), ("model.fte.clustering=kmeans",), ("model.fte.clustering=tome",),
                                       ("model.fte.clustering=drop",), ("model.fte.ranking=frame", "model.fte.keep_rate=0.5")])  # fmt: skip
def test_arms_of_stage_2_have_graphs(overrides):
    model = _model("model.stage=2", *overrides)
    program, frames = export.export(model), export.example(model.config, 3, seed=4)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(frames), model(frames).heatmaps, atol=1e-4, rtol=1e-4)


def test_weights_beside_an_onnx_graph_come_along(tmp_path, monkeypatch):
    """Above 1.5 GB torch writes `NAME.onnx.data` beside the graph, which names it; a smaller graph after it leaves none behind."""
    path, sizes = tmp_path / "model.onnx", iter(["large", "small"])

    def write(program, file):
        size = next(sizes)
        file.write_text(f"{size}: {file.name}.data")
        if size == "large":
            file.with_name(file.name + ".data").write_text("weights")
        return program.module()

    monkeypatch.setattr(export, "_onnx", write)
    model = _model("model.stage=0")
    export.write(model, path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "model.onnx": "large: model.onnx.data", "model.onnx.data": "weights",
    }  # fmt: skip
    export.write(model, path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"] and path.read_text().startswith("small")


def test_refusals(tmp_path):
    with pytest.raises(CausalPoseError, match="needs the ground truth"):
        export.export(_model("model.stage=2", "model.fte.selector=oracle"))
    with pytest.raises(CausalPoseError, match=".pt2 or .onnx"):
        export.write(_model("model.stage=0"), tmp_path / "model.tflite")


def test_a_graph_that_differs_is_not_kept(tmp_path, monkeypatch):
    path = tmp_path / "model.pt2"
    path.write_text("the old one")
    monkeypatch.setattr(export, "_difference", lambda *_: 0.5)
    with pytest.raises(CausalPoseError, match="differs from the model by 0.5"):
        export.write(_model("model.stage=0"), path)
    assert path.read_text() == "the old one" and len(list(tmp_path.iterdir())) == 1


def test_blocks_compile_without_graph_breaks():
    """`fullgraph=True` raises at a break: the backbone's, the encoder's and stage 2's blocks, in training, with every option of theirs
    (`at` is what the auxiliary decoders give)."""
    model = CMPose(preset("tiny", ["model.stage=2", "model.backbone.drop_path=0.1"]).model).train()
    x = torch.randn(2, 48, 128, requires_grad=True)
    bias, gate, at = torch.randn(2, 48), torch.rand(2, 48), torch.rand(2, 48).topk(9).indices
    for block in (model.backbone.vit.blocks[0], model.backbone.vit.blocks[-1]):
        compiled = torch.compile(block, backend="eager", fullgraph=True)
        torch.manual_seed(1)
        expected = block(x)
        torch.manual_seed(1)
        torch.testing.assert_close(compiled(x), expected)
    for block in (model.encoder.blocks[0], model.enhancement.blocks[0], Block(128, 4, 2.0)):
        compiled = torch.compile(block, backend="eager", fullgraph=True)
        for arguments in ((x,), (x, True), (x, False, bias, gate), (x, False, None, None, at), (x, True, bias, gate, at)):
            torch.testing.assert_close(compiled(*arguments)[0], block(*arguments)[0])
