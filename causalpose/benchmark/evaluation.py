"""How long PoseTrack's AP takes on a validation set of PoseTrack18's size, beside the literal loop that the tests hold it to.

The loop is in the repository's tests, not in the library; where the repository is not there, its columns are nan. Seconds are the process's
own on its core, so that a busy machine does not count.
"""

import importlib.util
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

import causalpose
from causalpose.benchmark.timing import COLUMNS
from causalpose.clip import Visibility
from causalpose.data.labels import Frame, Person, PoseSequence
from causalpose.data.posetrack import FILE_SET
from causalpose.evaluation import poseval

_SLOTS = [FILE_SET.index(name) for name in poseval.JOINTS.keypoints]


def evaluation_benchmark(
    *, sequences: int = 50, frames: int = 102, compared: int = 10, turns: int = 3, seed: int = 0, reference: ModuleType | None = None
) -> pd.DataFrame:
    """Seconds of the AP evaluator as a tidy frame of `COLUMNS`.

    sequences, frames   50 x 102 are about PoseTrack18's 170 x 30 labelled validation frames; each has 3 to 15 persons
    compared            sequences on which the loop is timed too (it would take long for all); their AP must agree to 1e-9
    turns               alternations of which the median is taken
    reference           a module with `average_precision(frames) -> AP in percent of 15 joints and their mean`; by default the tests' own

    Rows: the time for all sequences, the time for the compared ones (`reference` is the loop's, `ratio` how many times faster), and the
    largest difference between the two in percentage points.
    """
    truth, found = synthetic(sequences, frames, np.random.default_rng(seed))
    persons = sum(len(frame.persons) for sequence in truth for frame in sequence.frames)
    case = f"{sequences} sequences, {sequences * frames} frames, {persons} persons"
    whole = float(np.median([_seconds(poseval.average_precision, truth, found)[0] for _ in range(turns)]))
    rows = [("evaluation", case, "PoseTrack AP", whole, "s", np.nan, np.nan)]
    reference = _tests_loop() if reference is None else reference
    if reference is not None:
        few = truth[:compared], found[:compared]
        plain = _plain(*few)
        fast, slow = [], []
        for _ in range(turns):
            seconds, result = _seconds(poseval.average_precision, *few)
            fast.append(seconds)
            seconds, expected = _seconds(reference.average_precision, plain)
            slow.append(seconds)
        apart = float(np.abs(result.table.ap.to_numpy() - expected).max())
        quick, loop = float(np.median(fast)), float(np.median(slow))
        case = f"{compared} sequences, {compared * frames} frames"
        rows.append(("evaluation", case, "PoseTrack AP", quick, "s", loop, loop / quick))
        rows.append(("evaluation", case, "largest difference from the loop", apart, "percentage points", 0.0, np.nan))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def synthetic(sequences: int, frames: int, random: np.random.Generator) -> tuple[list[PoseSequence], list[PoseSequence]]:
    """Labelled and predicted sequences: 3 to 15 persons a frame that move a little; joints unlabelled or moved, persons missed."""
    truth, found = [], []
    for s in range(sequences):
        count = int(random.integers(3, 16))
        centres = random.uniform([100, 200], [1180, 520], (count, 2))
        sizes = random.uniform(15, 60, count)
        shapes = random.normal(0, 1.5, (count, 15, 2))
        regions = tuple(random.uniform(0, 720, (int(random.integers(4, 40)), 2)) for _ in range(int(random.integers(0, 3))))
        labelled, predicted = [], []
        for t in range(frames):
            centres = centres + random.normal(0, 2, centres.shape)
            places = centres[:, None] + sizes[:, None, None] * shapes
            seen = random.random((count, 15)) < 0.85
            moved = places + sizes[:, None, None] * random.normal(0, 0.3, places.shape)
            scores = random.random((count, 15))
            kept = np.flatnonzero(random.random(count) < 0.95)
            name, image_id = f"images/val/{s:06d}_synthetic/{t:06d}.jpg", 10_000 * s + t
            persons = tuple(_person(i, places[i], seen[i], sizes[i]) for i in range(count))
            guesses = tuple(_person(i, moved[i], np.ones(15, bool), None, scores[i]) for i in random.permutation(kept))
            labelled.append(Frame(image_id, name, True, persons, regions))
            predicted.append(Frame(image_id, name, True, guesses))
        truth.append(PoseSequence(f"{s:06d}_synthetic", tuple(labelled), "synthetic"))
        found.append(PoseSequence(f"{s:06d}_synthetic", tuple(predicted), "synthetic"))
    return truth, found


def _person(track: int, places: np.ndarray, there: np.ndarray, head: float | None, scores: np.ndarray | None = None) -> Person:
    points, visibility, confidence = np.zeros((17, 2)), np.zeros(17, np.uint8), np.zeros(17)
    points[_SLOTS] = np.where(there[:, None], places, 0.0)
    visibility[_SLOTS] = np.where(there, Visibility.VISIBLE, Visibility.UNLABELLED)
    confidence[_SLOTS] = 0.0 if scores is None else scores
    return Person(track, points, visibility, None, None if head is None else np.array([0.0, 0.0, head, head]), confidence)


def _plain(truth: list[PoseSequence], found: list[PoseSequence]) -> list[dict]:
    """The frames as the loop takes them: dictionaries of joints."""

    def joints(person: Person) -> dict[int, tuple[float, float]]:
        return {k: tuple(map(float, person.keypoints[slot])) for k, slot in enumerate(_SLOTS) if person.visibility[slot]}

    out = []
    for true_sequence, found_sequence in zip(truth, found, strict=True):
        for true, guessed in zip(true_sequence.frames, found_sequence.frames, strict=True):
            persons = [{"joints": joints(p), "head": tuple(map(float, p.head_box[2:]))} for p in true.persons]
            guesses = [{"joints": joints(p), "scores": {k: float(p.scores[s]) for k, s in enumerate(_SLOTS)}} for p in guessed.persons]
            ignore = [[tuple(map(float, corner)) for corner in polygon] for polygon in true.ignore]
            out.append({"true": persons, "found": guesses, "ignore": ignore})
    return out


def _tests_loop() -> ModuleType | None:
    """The literal loop of the repository's tests, where the library runs from the repository."""
    path = Path(causalpose.__file__).parents[1] / "tests" / "evaluation" / "poseval_reference.py"
    if not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location("poseval_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _seconds(function, *arguments) -> tuple[float, object]:
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result
