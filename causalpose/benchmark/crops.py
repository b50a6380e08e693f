"""How many person crops a second one core cuts out of JPEG frames of 1280x720, decoding and augmentation included.

The reference is the loop that a first version has: each crop opens and decodes its own image. Both run in this process, one thread each,
in turns. A second is one of the process's own on its core, so that a busy machine does not count; a rate is the median over the turns.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image

from causalpose.benchmark.timing import COLUMNS
from causalpose.clip import Clip, Visibility, stack
from causalpose.config import BackboneConfig, DataConfig, ModelConfig
from causalpose.data import posetrack
from causalpose.data.augment import augment
from causalpose.data.crops import cut
from causalpose.data.files import read_image
from causalpose.data.labels import Frame, Person, PoseSequence
from causalpose.data.source import PersonSource
from causalpose.skeletons import keypoint_set

SIZE = (720, 1280)
REFERENCE = "a decoded image for every crop"


def crops_benchmark(
    *,
    images: int = 20,
    persons: int = 6,
    frames: int = 5,
    height: int = 256,
    width: int = 192,
    batch: int = 16,
    turns: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Crops per second on one core, as a tidy frame of `COLUMNS`.

    images    JPEG frames written for it (1280x720, quality 90, textured so that they have a photograph's size)
    persons   in every frame, 150 to 600 pixels tall
    frames    of a clip: a clip of T frames is T crops
    batch     clips asked for at once, where they share images
    turns     alternations of which the median is taken; no cut clip is kept, and `apart` no decoded image is met again

    Cases: `apart` (no two clips of a batch show the same image: training on a large data set in random order), `together` (all persons of
    neighbouring frames: evaluation, or predicting a video), each also with the batch `augmented` on the same core, and `apart, 64x48`
    (the book's crops, for which JPEGs are decoded at a reduced size). `reference` is the rate of the plain loop on the same clips, with the
    same augmentation, and `ratio` how many times faster the source is.
    """
    dice = np.random.default_rng(seed)
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        with tempfile.TemporaryDirectory(prefix="causalpose-crops-") as folder:
            root = Path(folder)
            size = write_frames(root, images, persons, dice)
            large = ModelConfig(height=height, width=width, frames=frames, backbone=BackboneConfig(patch=16))
            book = ModelConfig(frames=frames)
            rows = [_row("JPEG frame", "size", size / 1024, "KiB", np.nan)]
            for case, config, together, augmented in (
                ("apart", large, False, False),
                ("apart, augmented", large, False, True),
                ("together", large, True, False),
                ("together, augmented", large, True, True),
                ("apart, 64x48", book, False, False),
                ("apart, 64x48, augmented", book, False, True),
            ):
                fast, plain = _compare(root, config, batch, turns, together, augmented, seed)
                rows.append(_row(case, "crops per core", fast, "1/s", plain))
            return pd.DataFrame(rows, columns=list(COLUMNS))
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)


def _row(case: str, quantity: str, value: float, unit: str, reference: float) -> tuple:
    return ("crops", case, quantity, value, unit, reference, value / reference)


def write_frames(root: Path, images: int, persons: int, dice: np.random.Generator) -> float:
    """Write a PoseTrack18 data set of one sequence below `root`; returns the mean size of its images in bytes."""
    height, width = SIZE
    names = keypoint_set("posetrack18")
    frames, total = [], 0
    corners = dice.uniform(0, [width * 0.8, height * 0.4], (persons, 2))
    sides = dice.uniform(150, 600, persons)
    # Smooth shapes with a grain on them: about 200 KiB at quality 90, as photographs of this size have.
    base = cv2.resize(dice.integers(0, 256, (36, 64, 3), dtype=np.uint8), (width + images * 4, height), interpolation=cv2.INTER_CUBIC)
    for number in range(images):
        grain = dice.normal(0, 2.5, (height, width, 1))
        picture = np.clip(base[:, number * 4 : number * 4 + width] + grain, 0, 255).astype(np.uint8)
        name = f"images/train/clip/{number:06d}.jpg"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / name, quality=90)
        total += (root / name).stat().st_size
        people = []
        for track in range(persons):
            box = np.array([*(corners[track] + number), 0.4 * sides[track], sides[track]])
            points = box[:2] + dice.uniform(0.1, 0.9, (len(names), 2)) * box[2:]
            people.append(Person(track, points, np.full(len(names), Visibility.VISIBLE, np.uint8), box))
        frames.append(Frame(number, name, True, tuple(people), size=SIZE))
    posetrack.write(root / "annotations" / "train" / "clip.json", PoseSequence("clip", tuple(frames)))
    return total / images


def _compare(root: Path, config: ModelConfig, batch: int, turns: int, together: bool, augmented: bool, seed: int) -> tuple[float, float]:
    """Crops per second of the source and of the plain loop: medians over the turns."""
    source = PersonSource(root, "train", config, DataConfig(dilation=1))
    source._clip_limit = 0  # cut clips are not kept: an epoch of a real data set is larger than any memory
    generator = torch.Generator().manual_seed(seed)
    positions = np.array([position for _, position, _ in source._places])
    if together:
        batches = [list(range(start, start + batch)) for start in range(0, len(source) - batch + 1, batch)]
    else:
        # Targets a whole clip apart, one person of each: no image is shown twice.
        source._image_limit = SIZE[0] * SIZE[1] * 3 * config.frames  # a data set of many more images than are kept
        targets = range(config.frames // 2, positions.max() + 1 - config.frames // 2, config.frames)
        batches = [[int(np.flatnonzero(positions == target)[turn]) for target in targets] for turn in range(2)]

    def fast(indices: list[int]) -> None:
        finish(source.batch(indices))

    def plain(indices: list[int]) -> None:
        finish(stack([source._clip(index, plain_clip(source, index)) for index in indices]))

    def finish(clip: Clip) -> None:
        if augmented:
            augment(clip, config.keypoints, generator)

    rates: dict[Callable, list[float]] = {fast: [], plain: []}
    for turn in range(turns + 1):
        indices = batches[turn % len(batches)]
        for run in (fast, plain) if turn % 2 else (plain, fast):
            began = time.process_time()
            run(indices)
            rates[run].append(len(indices) * config.frames / (time.process_time() - began))
    return float(np.median(rates[fast][1:])), float(np.median(rates[plain][1:]))  # the first turn warms up


def plain_clip(source: PersonSource, index: int) -> torch.Tensor:
    """The crops of one clip `[T, 3, H, W]` by the plain loop: open, decode, cut, for each frame anew."""
    number, position, _ = source._places[index]
    sequence, config = source.sequences[number], source.config
    crops = []
    for place in source._window(number, position):
        image = read_image(source.root / sequence.folder / sequence.frames[place].file_name)
        crops.append(cut(image, source.entries[index].matrix, config.height, config.width))
    return torch.from_numpy(np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2)))
