"""`SceneSource`: splits, conditions, and a cache that cannot serve wrong clips."""

import errno
import json
import os
import subprocess
import sys
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from causalpose.clip import CONDITION_CODES, Clip, stack
from causalpose.config import BackboneConfig, DataConfig, ModelConfig
from causalpose.errors import CausalPoseError
from causalpose.scenes import camera, dataset
from causalpose.scenes.dataset import SPLITS, SceneSource, cache_folder, renderer_fingerprint
from causalpose.scenes.world import World

MODEL = ModelConfig(height=16, width=16, frames=1, backbone=BackboneConfig(patch=8))


def source(clips=3, **settings):
    names = {"split", "seed", "level"} & set(settings)
    return SceneSource(MODEL, DataConfig(clips=clips, **{name: settings.pop(name) for name in names}), **settings)


def same(a: Clip, b: Clip) -> bool:
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Clip))


def folders(own_cache):
    return sorted(p for p in (own_cache / "scenes").iterdir()) if (own_cache / "scenes").exists() else []


def test_clips_are_the_worlds():
    data = source(5, split="val", seed=2, level="hard")
    assert len(data) == 5
    expected = World(16, 16, 1, "hard", seed=2 * 3 + 1).render(range(5))
    assert same(data.batch(range(5)), expected)
    assert same(stack([data[4], data[0]]), data.batch([4, 0])) and data[4].frames.ndim == 4
    assert same(data.batch(torch.tensor([1])), expected[1:2])


def test_splits_and_seeds_share_no_clip():
    """Nine sources of two clips: no two show the same pose."""
    poses = [
        tuple(source(2, split=split, seed=seed, cache=False).batch([n]).keypoints.flatten().tolist())
        for split in SPLITS
        for seed in (0, 1, 2)
        for n in (0, 1)
    ]
    assert len(set(poses)) == len(poses) == 18


def test_conditions_are_marked_and_differ():
    """Clip n keeps its number and pose under every condition, so scores can be paired; `mixed` is marked as clean, the first."""
    base = source(4, cache=False)
    assert base.batch(range(4)).condition.tolist() == [0] * 4
    for code, condition in enumerate(CONDITION_CODES):
        clips = source(4, condition=condition, severity=5, cache=False).batch(range(4))
        assert clips.condition.tolist() == [code] * 4 and clips.condition.dtype == torch.uint8
        assert torch.equal(clips.index, torch.arange(4)) and torch.equal(clips.keypoints, base.batch(range(4)).keypoints)
        assert same(clips, source(4, condition=condition, severity=5).batch(range(4)))
    assert not torch.equal(
        source(4, condition="defocus", severity=1).batch(range(4)).frames, source(4, condition="defocus", severity=5).batch(range(4)).frames
    )


def test_a_world_of_ones_own():
    world = World(16, 16, 1, seed=11).do(background=None)
    assert same(source(3, world=world).batch(range(3)), world.render(range(3)))
    assert same(source(3, world=world).batch(range(3)), world.render(range(3)))  # and from the cache


def test_many_clips_are_rendered_in_pieces(monkeypatch):
    monkeypatch.setattr(dataset, "_CHUNK", 4)
    assert same(source(10).batch(range(10)), World(16, 16, 1, seed=0).render(range(10)))


def test_describe_is_ready_for_json():
    text = source(3, condition="low_light", severity=4, seed=7).describe()
    assert json.loads(json.dumps(text)) == text
    assert (text["clips"], text["condition"], text["severity"], text["seed"]) == (3, "low_light", 4, 7)
    assert text["renderer"] == renderer_fingerprint()
    assert source(3).describe()["severity"] is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: source(split="dev"), "scenes have no split 'dev'; splits: train, val, test"),
        (lambda: source(condition="fog"), "unknown condition 'fog'"),
        (lambda: source(condition="defocus", severity=7), "severity = 7"),
        (lambda: SceneSource(ModelConfig(keypoints="coco17"), DataConfig(clips=1)), "posetrack15, but the model wants coco17"),
    ],
)
def test_bad_input_is_one_clear_line(make, message):
    with pytest.raises(CausalPoseError, match=message):
        make()


def test_the_fingerprint_follows_the_pixels(monkeypatch):
    """The same twice, and another when the crop is a hundredth wider."""
    compute = renderer_fingerprint.__wrapped__
    first = compute()
    assert first == compute() == renderer_fingerprint() and len(first) == 12
    monkeypatch.setattr(camera, "ENLARGE", 1.26)
    assert compute() != first


def test_the_default_scenes_are_those_that_the_shipped_weights_saw():
    """The weights and every record were made from these pixels: whoever changes them retrains both, and then changes this line."""
    assert renderer_fingerprint() == "abb549f0d769"


# -- the cache ---------------------------------------------------------------------------------------------------------------


def test_the_second_time_nothing_is_rendered(monkeypatch, own_cache):
    first = source()
    assert [p.name[0] != "." for p in folders(own_cache)] == [True]  # one finished folder, no draft
    monkeypatch.setattr(World, "render", lambda *_, **__: pytest.fail("rendered again"))
    assert same(source().batch(range(3)), first.batch(range(3)))


def test_what_decides_the_clips_names_the_folder(monkeypatch, own_cache):
    for settings in (
        {},
        {"seed": 1},
        {"split": "val"},
        {"level": "hard"},
        {"clips": 4},
        {"condition": "clean"},
        {"condition": "defocus"},
        {"condition": "defocus", "severity": 4},
    ):
        before = len(folders(own_cache))
        source(**settings)
        assert len(folders(own_cache)) == before + 1, settings
    monkeypatch.setattr(dataset, "renderer_fingerprint", lambda: "another")
    source()
    assert len(folders(own_cache)) == 9


def test_without_a_cache_nothing_is_written(own_cache):
    assert same(source(cache=False).batch(range(3)), source().batch(range(3)))
    for folder in folders(own_cache):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    source(cache=False)
    assert folders(own_cache) == []


def flip_a_byte(folder):
    data = bytearray((folder / "frames.npy").read_bytes())
    data[-7] ^= 1
    (folder / "frames.npy").write_bytes(data)


def cut_short(folder):
    path = folder / "keypoints.npy"
    path.write_bytes(path.read_bytes()[:-20])


def remove(folder):
    (folder / "parts.npy").unlink()


def swap_for_other_data(folder):
    np.save(folder / "visibility.npy", np.zeros((3, 1, 15), np.uint8))


def empty_an_array(folder):
    """A file of no bytes, as a full disk leaves."""
    (folder / "scale.npy").write_bytes(b"")


def spoil_the_list(folder):
    (folder / "complete.json").write_text('{"checksums": {"frames": ')


@pytest.mark.parametrize("damage", [flip_a_byte, cut_short, remove, swap_for_other_data, spoil_the_list, empty_an_array])
def test_a_damaged_cache_is_reported_removed_and_rendered_anew(own_cache, damage):
    expected = source().batch(range(3))
    (folder,) = folders(own_cache)
    damage(folder)
    with pytest.raises(CausalPoseError, match="was damaged .* has been removed; run the command again"):
        source()
    assert folders(own_cache) == []
    assert same(source().batch(range(3)), expected)


def test_an_unfinished_folder_is_not_trusted(own_cache):
    """A folder without its list, such as a copy that was broken off, is not read: the clips are rendered and a whole folder replaces it."""
    expected = source().batch(range(3))
    (folder,) = folders(own_cache)
    (folder / "complete.json").unlink()
    (folder / "scale.npy").write_bytes(b"")
    assert same(source().batch(range(3)), expected)
    assert folders(own_cache) == [folder] and (folder / "complete.json").exists()
    assert same(source().batch(range(3)), expected)


def test_a_cache_that_cannot_be_written_leaves_the_clips_in_memory(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("CAUSALPOSE_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="could not be written .* the clips stay in memory"):
        data = source()
    assert same(data.batch(range(3)), World(16, 16, 1, seed=0).render(range(3)))


def test_a_full_disk_leaves_the_clips_in_memory_and_no_rubbish(monkeypatch, own_cache):
    save, count = np.save, []

    def full(path, array):
        count.append(path)
        if len(count) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(path, array)

    monkeypatch.setattr(dataset.np, "save", full)
    with pytest.warns(UserWarning, match="No space left on device.*stay in memory"):
        data = source()
    assert len(data) == 3 and len(count) == 3 and folders(own_cache) == []


def test_somebody_else_was_first(monkeypatch, own_cache):
    """The other process finishes its folder while this one still renders: both have the clips, one folder stands."""
    render = World.render
    inside = []

    def slow(self, clips, **settings):
        if not inside:
            inside.append(True)
            source()
        return render(self, clips, **settings)

    monkeypatch.setattr(World, "render", slow)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = source()
    assert same(data.batch(range(3)), World(16, 16, 1, seed=0).render(range(3)))
    assert len(folders(own_cache)) == 1


def test_two_processes_at_once(own_cache, repository):
    """Both succeed without a word and see the same bytes; one folder stands."""
    code = (
        "import hashlib; from causalpose.config import *; from causalpose.scenes.dataset import SceneSource\n"
        "m = ModelConfig(height=16, width=16, frames=1, backbone=BackboneConfig(patch=8))\n"
        "s = SceneSource(m, DataConfig(clips=40))\n"
        "print(hashlib.sha256(s.batch(range(40)).frames.numpy().tobytes()).hexdigest())"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code],
            cwd=repository,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0] and len(folders(own_cache)) == 1


def test_the_cache_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("CAUSALPOSE_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.setenv("CAUSALPOSE_CACHE", "")
    assert cache_folder() == Path.home() / ".cache" / "causalpose"


# -- on the fly ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", ["mixed", "defocus"])
def test_on_the_fly_the_pixels_are_the_same(own_cache, condition):
    """In whatever batches they are asked for, also from the end, and nothing is kept on disk."""
    live = source(9, ahead=False, condition=condition, level="hard")
    assert folders(own_cache) == []
    ahead = source(9, condition=condition, level="hard", cache=False)
    assert len(live) == 9 and live.describe() == ahead.describe()
    for numbers in ([0, 1, 2, 3, 4, 5, 6, 7, 8], [8, 0, 3], torch.tensor([5]), [2, 2], [-1]):
        assert same(live.batch(numbers), ahead.batch(numbers))
    assert same(live[4], ahead[4]) and len(list(live)) == len(list(ahead)) == 9
    with pytest.raises(IndexError):
        live.batch([9])


def test_on_the_fly_nothing_is_rendered_before_it_is_asked_for(monkeypatch):
    asked = []
    render = World.render
    monkeypatch.setattr(World, "render", lambda self, clips: asked.append(len(clips)) or render(self, clips))
    live = source(10**9, ahead=False)  # more than any memory holds
    assert asked == [] and len(live) == 10**9
    live.batch([10**9 - 1, 4])
    assert asked == [2]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_batches_read_ahead_by_threads_are_the_same(workers, threads):
    """The training loop's read-ahead over a source on the fly: whatever the workers and torch's threads, the cached source's batches."""
    from causalpose.training.prefetch import Prefetch

    ahead, live = source(16, cache=False, level="hard"), source(16, ahead=False, level="hard")
    places = [[3 * n % 16, (3 * n + 7) % 16, n] for n in range(8)]
    try:
        torch.set_num_threads(threads)
        read = Prefetch(lambda n: live.batch(places[n]), lambda n: list(range(n + 1, 8)), workers)
        batches = [read(n) for n in range(8)]
        read.close()
    finally:
        torch.set_num_threads(1)
    for place, batch in zip(places, batches, strict=True):
        assert same(batch, ahead.batch(place))
