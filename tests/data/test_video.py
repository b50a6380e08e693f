"""Video in and out: frames survive, memory does not grow, damage is said."""

import numpy as np
import pytest
from PIL import Image

from causalpose.data import video
from causalpose.errors import CausalPoseError


def picture(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth picture (H.264 keeps those well) whose brightness tells the frame's number."""
    y, x = np.mgrid[:height, :width]
    return np.stack([40 + 10 * number + 0 * x, 255 * x / width, 255 * y / height], -1).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63)])
def test_write_then_read(tmp_path, height, width):
    path = tmp_path / "a.mp4"
    assert video.write_video(path, (picture(n, height, width) for n in range(8)), fps=12.5) == 8
    info = video.probe(path)
    assert info.frames == 8 and info.fps == pytest.approx(12.5)
    frames = list(video.read_frames(path))
    assert len(frames) == 8 and frames[0].shape == (height + height % 2, width + width % 2, 3)
    for n, frame in enumerate(frames):
        assert np.abs(frame[:height, :width].astype(int) - picture(n, height, width)).mean() < 4
    assert list(tmp_path.iterdir()) == [path]


def test_folder_in_natural_order(tmp_path):
    for number in (10, 9, 1):
        Image.fromarray(picture(number)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    info = video.probe(tmp_path)
    assert info.names == ("frame1.png", "frame9.png", "frame10.png") and info.frames == 3
    assert [int(frame[0, 0, 0]) for frame in video.read_frames(tmp_path)] == [50, 130, 140]


def test_frames_are_yielded_one_at_a_time(tmp_path):
    for number in range(3):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.png")
    frames = video.read_frames(tmp_path)
    next(frames)
    (tmp_path / "1.png").unlink()
    with pytest.raises(CausalPoseError, match="1.png: no such image"):
        next(frames)


def test_damage_is_said(tmp_path):
    whole = tmp_path / "a.mp4"
    video.write_video(whole, (picture(n) for n in range(8)))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:1800])
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    with pytest.raises(CausalPoseError, match="cut.mp4: .*(damaged|cannot be opened)"):
        list(video.read_frames(cut))
    with pytest.raises(CausalPoseError, match="text.mp4: cannot be opened as a video"):
        list(video.read_frames(text))
    with pytest.raises(CausalPoseError, match="no such video file or folder"):
        video.probe(tmp_path / "none.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CausalPoseError, match="no images in this folder"):
        list(video.read_frames(tmp_path / "empty"))


def test_a_failed_write_leaves_nothing(tmp_path):
    def frames():
        yield picture(0)
        yield picture(1, 20, 20)

    with pytest.raises(CausalPoseError, match="frame 1 is uint8"):
        video.write_video(tmp_path / "a.mp4", frames())
    with pytest.raises(CausalPoseError, match="no frame to write"):
        video.write_video(tmp_path / "a.mp4", iter(()))
    with pytest.raises(CausalPoseError, match="frames per second"):
        video.write_video(tmp_path / "a.mp4", [picture(0)], fps=0)
    assert not list(tmp_path.iterdir())


def test_the_real_clip(shared_data):
    folder = shared_data / "posetrack18_sample" / "videos" / "000001_mpiinew_test"
    from_file = list(video.read_frames(folder / "000001_mpiinew_test.mp4"))
    from_images = list(video.read_frames(folder))
    assert len(from_file) == len(from_images) == 5
    assert np.abs(from_file[2].astype(int) - from_images[2]).mean() < 8
