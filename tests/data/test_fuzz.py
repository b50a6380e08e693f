"""Damaged data sets give a result or one clear error of the project's own type: nothing crashes, hangs or is read outside the root.

The ordinary tests damage 1,500 files; `pytest tests/data/test_fuzz.py -m slow` damages 11,000 others.
"""

import json
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from causalpose.config import DataConfig, ModelConfig
from causalpose.data.check import check
from causalpose.data.convert import convert
from causalpose.data.detections import read_detections
from causalpose.data.files import read_image
from causalpose.data.source import PersonSource
from causalpose.errors import CausalPoseError
from tests.data import makers, mutate

CONFIG, FRAMES = ModelConfig(frames=3), 3
SLOWEST = 5.0  # seconds for one damaged data set, on a busy machine; the usual is milliseconds
_watched: list[str] = []
_watching = False


def _audit(event: str, arguments: tuple) -> None:
    if _watching and event in ("open", "os.listdir", "os.scandir"):
        _watched.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else "")


@pytest.fixture(scope="module", autouse=True)
def audit():
    sys.addaudithook(_audit)  # stays for the process, but records only while a case runs


def _survives(root: Path, split: str, text: str, pixels: bool) -> bool:
    """Run everything that reads a data set; True where all of it worked. Any other exception than the project's fails the test."""
    global _watching
    began, worked = time.perf_counter(), True

    def take(faults):
        found = PersonSource(root, split, CONFIG, DataConfig(dilation=1, faults=faults))
        json.dumps(found.describe(), allow_nan=False)
        if pixels:
            clips = found.batch([0, len(found) - 1])
            assert np.isfinite(clips.keypoints.numpy()).all() and np.isfinite(clips.scale.numpy()).all()
        else:
            assert all(np.isfinite(entry.matrix).all() and entry.matrix[0, 0] > 0 for entry in found.entries)

    _watched.clear()
    _watching = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for step in (lambda: str(check(root, images=pixels)), lambda: take("refuse"), lambda: take("leave-out")):
                try:
                    step()
                except CausalPoseError as error:
                    worked = False
                    assert 0 < len(str(error)) < 3000 and "\n" not in str(error), text
                except Exception as error:
                    raise AssertionError(f"{text}: {type(error).__name__}: {error}") from error
    finally:
        _watching = False
    allowed = (str(root), str(Path(sys.prefix)), str(Path(sys.base_prefix)), str(Path(__file__).parents[2] / "causalpose"))
    outside = [path for path in _watched if os.path.isabs(path) and not os.path.realpath(path).startswith(allowed)]
    assert not outside, f"{text}: read {outside[:3]}"
    assert not any(".." in Path(path).parts for path in _watched), text
    took = time.perf_counter() - began
    assert took < SLOWEST, f"{text}: took {took:.1f} s"
    return worked


@pytest.fixture(scope="module")
def made():
    return makers.videos(count=1, length=FRAMES)


TARGETS = {
    "posetrack17": (makers.posetrack17, "train", "annotations/train/*.json"),
    "posetrack18": (makers.posetrack18, "train", "annotations/train/*.json"),
    "posetrack21": (lambda root, made: makers.posetrack18(root, made, edition=21), "train", "posetrack_data/train/*.json"),
    "coco": (makers.coco, "val2017", "annotations/person_keypoints_*.json"),
    "jhmdb-json": (makers.jhmdb_json, "sub1_train", "annotations/Sub1_train.json"),
}


def _fuzz_annotations(name: str, made, folder: Path, seeds: range) -> None:
    make, split, pattern = TARGETS[name]
    root = make(folder / "root", made)
    (folder / "secret.png").write_bytes(b"not to be read")
    (file,) = root.glob(pattern)
    content, worked = json.loads(file.read_text()), 0
    for seed in seeds:
        file.write_bytes(mutate.damage(content, seed))
        worked += _survives(root, split, f"{name}, seed {seed}", pixels=seed % 5 == 0)
    # Damage must sometimes do no harm and mostly some: else the files are not worth the name.
    assert 0.02 * len(seeds) < worked < 0.9 * len(seeds), f"{worked} of {len(seeds)} worked"


def _fuzz_mat(made, folder: Path, seeds: range) -> None:
    root = makers.jhmdb_mat(folder / "root", made, masks=True)
    files = [next(root.glob(pattern)) for pattern in ("joint_positions/*/*/*.mat", "puppet_mask/*/*/*.mat", "sub_splits/*_1.txt")]
    whole = [file.read_bytes() for file in files]
    for seed in seeds:
        for file, raw in zip(files, whole, strict=True):
            file.write_bytes(raw)
        file, raw = files[seed % 3], whole[seed % 3]
        file.write_bytes(mutate.damage_bytes(raw, seed))
        _survives(root, "sub1_train", f"{file.name}, seed {seed}", pixels=seed % 5 == 0)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_annotations(name, made, tmp_path):
    _fuzz_annotations(name, made, tmp_path, range(100))


def test_damaged_matlab_files(made, tmp_path):
    _fuzz_mat(made, tmp_path, range(100))


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_many_damaged_annotations(name, made, tmp_path):
    """2,000 of each of the five JSON forms."""
    _fuzz_annotations(name, made, tmp_path, range(1000, 3000))


@pytest.mark.slow
def test_many_damaged_matlab_files(made, tmp_path):
    _fuzz_mat(made, tmp_path, range(1000, 2000))


def test_damaged_detections(tmp_path):
    rows = [{"image_id": 1, "category_id": 1, "bbox": [1.5, 2, 30, 40], "score": 0.9}, {"image_id": 2, "bbox": [0, 0, 5, 5], "score": 0.1}]
    file, worked = tmp_path / "found.json", 0
    for seed in range(500):
        file.write_bytes(mutate.damage(rows, seed))
        try:
            found = read_detections(file, 0.05)
        except CausalPoseError as error:
            assert "found.json" in str(error) and "\n" not in str(error)
        else:
            worked += 1
            assert all(np.isfinite(d.box).all() and min(d.box[2:]) >= 1 for group in found.values() for d in group)
    assert 20 < worked < 450


def test_damaged_conversion_leaves_nothing_behind(made, tmp_path):
    root = makers.posetrack17(tmp_path / "root", made)
    (file,) = root.glob("annotations/train/*.json")
    content, out = json.loads(file.read_text()), tmp_path / "out"
    for seed in range(60):
        file.write_bytes(mutate.damage(content, seed))
        try:
            convert(root, "posetrack18", out / str(seed))
        except CausalPoseError:
            assert not (out / str(seed)).exists(), seed
        else:
            assert check(out / str(seed), images=False).counts["train"]["sequences"] >= 0


@pytest.fixture(scope="module")
def photograph(tmp_path_factory) -> bytes:
    file = tmp_path_factory.mktemp("photograph") / "a.jpg"
    grain = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(grain).resize((180, 120)).save(file, quality=90)
    return file.read_bytes()


@pytest.mark.parametrize("reduction", [1, 4])
def test_a_jpeg_cut_anywhere_is_an_error(reduction, photograph, tmp_path):
    """Never a picture with a grey rest: only the last bytes (the end mark) may be missing."""
    file = tmp_path / "a.jpg"
    for length in [*range(0, len(photograph) - 400, 97), len(photograph) // 2]:
        file.write_bytes(photograph[:length])
        with pytest.raises(CausalPoseError, match="cannot be decoded"):
            read_image(file, reduction)


def test_damaged_images(photograph, tmp_path):
    file, worked = tmp_path / "a.jpg", 0
    for seed in range(300):
        file.write_bytes(mutate.damage_bytes(photograph, seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                image = read_image(file, 1 + seed % 2)
            except CausalPoseError as error:
                assert "a.jpg" in str(error) and "\n" not in str(error)
            else:
                worked += 1
                assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert 25 < worked < 295


def test_what_is_no_ordinary_image(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for a writer for ever
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "script.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n0 0 moveto\n")
    (tmp_path / "bomb.png").write_bytes(_huge_png())
    for name in ("pipe.jpg", "folder.jpg", "script.jpg", "bomb.png"):
        with pytest.raises(CausalPoseError, match=name):
            read_image(tmp_path / name)


def _huge_png() -> bytes:
    """A PNG of a few hundred bytes that claims 60,000 x 60,000 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_images_of_another_size_are_reported(made, tmp_path):
    root = makers.coco(tmp_path, made)
    Image.new("RGB", (30, 20)).save(root / "val2017" / "000000000002.jpg")
    text = str(check(root))
    assert "000000000002.jpg: width x height is 30x20, but the annotations say 72x96" in text
    assert "are the labels of another resolution?" in text


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret.png", "images/../../secret.png", "a\\..\\b.png", "\0", "x" * 300, "b/" * 1500 + "c.jpg", "", "."]
)
@pytest.mark.parametrize("target", ["posetrack17", "posetrack18", "coco"])
def test_names_that_lead_out_of_the_root(target, name, made, tmp_path):
    make, split, pattern = TARGETS[target]
    root = make(tmp_path / "root", made)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (file,) = root.glob(pattern)
    content = json.loads(file.read_text())
    if target == "posetrack17":
        content["annolist"][1]["image"][0]["name"] = name
    else:
        content["images"][1]["file_name"] = name
    file.write_text(json.dumps(content))
    with pytest.raises(CausalPoseError, match="relative to the data set's folder"):
        PersonSource(root, split, CONFIG, DataConfig())
    report = check(root)
    assert sum("relative to the data set's folder" in str(fault) for fault in report.faults) == 1
