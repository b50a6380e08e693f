"""`causalpose data preview`."""

import sys

import numpy as np
import pytest
from PIL import Image

from causalpose.cli import main
from causalpose.cli.preview import settings, size
from causalpose.data.video import probe
from causalpose.errors import CausalPoseError
from causalpose.scenes.world import World


@pytest.fixture
def preview(monkeypatch, capsys, tmp_path):
    """`preview(*options) -> (exit code, stdout, stderr)`."""

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["causalpose", "data", "preview", "--out", str(tmp_path / "out"), *options])
        capsys.readouterr()
        code = 0
        try:
            main.run()
        except SystemExit as end:
            code = end.code or 0
        return (code, *capsys.readouterr())

    return run


def test_sheet_and_video(preview, tmp_path):
    """Two clips of 32 x 24, enlarged 144 / 32 = 4.5 -> 4 times, side by side with 4 pixels between: 128 x (2 * 96 + 4)."""
    code, output, _ = preview("--clips", "2", "--size", "32x24", "--frames", "3", "--seed", "5")
    assert code == 0 and "scenes.png" in output and "scenes.mp4" in output
    picture = np.asarray(Image.open(tmp_path / "out" / "scenes.png"))
    assert picture.shape == (128, 196, 3)
    frames = World(32, 24, 3, seed=5).render(range(2)).frames[:, 1].permute(0, 2, 3, 1).numpy()
    assert np.array_equal(picture[::4, :96:4], frames[0]) and np.array_equal(picture[::4, 100::4], frames[1])
    assert probe(tmp_path / "out" / "scenes.mp4").frames == 12
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["scenes.mp4", "scenes.png"]


def test_with_do_each_clip_stands_beside_its_counterfactual(preview, tmp_path):
    code, output, _ = preview("--clips", "1", "--size", "32x24", "--frames", "1", "--do", "background=none", "--do", 'lens={"gain": 0.2}')
    assert code == 0 and "do(background=None, lens.gain=0.2)" in output and "mp4" not in output
    picture = np.asarray(Image.open(tmp_path / "out" / "scenes.png"))
    world = World(32, 24, 1)
    factual, other = (w.render([0]).frames[0, 0].permute(1, 2, 0).numpy() for w in (world, world.do(background=None, lens={"gain": 0.2})))
    assert np.array_equal(picture[::4, :96:4], factual) and np.array_equal(picture[::4, 96::4], other)


def test_a_biased_world_beside_its_twin(preview, tmp_path):
    """Left the biased clip, right the one whose background is set; the cut edge is named."""
    options = ("--bias", "background<-motion:1, distractors<-pose:0.5", "--do", "background=9")
    code, output, _ = preview("--clips", "1", "--size", "32x24", "--frames", "1", *options)
    assert code == 0
    assert "background depends on motion in 100% of the clips, cut by do()" in output and "distractors depends on pose in 50%" in output
    assert output.count("cut by") == 1
    picture = np.asarray(Image.open(tmp_path / "out" / "scenes.png"))
    biased = World(32, 24, 1).biased("background<-motion:1, distractors<-pose:0.5")
    factual, other = (w.render([0]).frames[0, 0].permute(1, 2, 0).numpy() for w in (biased, biased.do(background=9)))
    assert np.array_equal(picture[::4, :96:4], factual) and np.array_equal(picture[::4, 96::4], other)


def test_values_of_do():
    texts = ["background=none", "motion=jump", "clothing=12", 'lens={"gain": 0.2}', "camera = left"]
    assert settings(texts) == {"background": None, "motion": "jump", "clothing": 12, "lens": {"gain": 0.2}, "camera": "left"}
    assert size("96x72") == (96, 72) and size("64X48") == (64, 48)


@pytest.mark.parametrize("text", ["lens", "=none", "lens=", 'lens={"gain": }'])
def test_a_malformed_do_is_one_clear_line(text):
    with pytest.raises(CausalPoseError, match="--do"):
        settings([text])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--do", "weather=rain"], "unknown cause 'weather'"),
        (["--do", "body=none"], "a scene always has a body"),
        (["--do", "lens=fog"], "unknown name; known: defocus"),
        (["--do", "lens=none", "--do", "lens=defocus"], "names lens twice"),
        (["--size", "96"], "must be height x width"),
        (["--size", "4x4"], "at least 16 pixels"),
        (["--frames", "4"], "must be odd"),
        (["--bias", "background<-weather:0.5"], "nothing can depend on 'weather'"),
        (["--level", "brutal"], "unknown level 'brutal'"),
    ],
)
def test_bad_input_ends_with_one_line_and_writes_nothing(preview, tmp_path, options, message):
    code, _, errors = preview(*options)
    assert code == 2 and message in errors and errors.startswith("error: ") and errors.count("\n") == 1
    assert not (tmp_path / "out").exists()
