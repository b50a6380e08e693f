"""The engine: order, resumption after SIGKILL, failures by name, a full disk; with a stand-in for papermill, so that a cell is quick."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from causalpose.errors import CausalPoseError
from causalpose.experiments import engine, grid

STUB = Path(__file__).parent / "stub"
CONFIG = {"scale": "smoke", "studies": "tcis,clustering"}
PROGRAM = """
import json, pathlib, sys
from causalpose.experiments import engine
sys.exit(engine.run(json.loads(sys.argv[1]), parallel=2, folder=pathlib.Path(sys.argv[2]), progress=False, arguments=sys.argv[3:]))
"""


def start(folder: Path, config: dict = CONFIG, arguments: tuple[str, ...] = (), **environment: str) -> subprocess.Popen:
    """The engine in a process group of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(engine.ROOT), str(STUB)])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(config), str(folder), *arguments], env=os.environ | {"PYTHONPATH": path} | environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def finish(
    folder: Path, config: dict = CONFIG, arguments: tuple[str, ...] = (), seconds: int = 250, **environment: str
) -> tuple[int, str, str]:
    process = start(folder, config, arguments, **environment)
    words, errors = process.communicate(timeout=seconds)
    return process.returncode, words, errors


def tables(folder: Path) -> dict[str, str]:
    """The last file of every cell, by name."""
    place = folder / grid.ROOT
    return {str(path.relative_to(place)): path.read_text() for name in ("cell.json", "provenance.json") for path in place.rglob(name)}


def runs(folder: Path) -> list[str]:
    """The cells in the order in which they ended, as often as they were run."""
    return [line.split()[0] for line in journal(folder)]


def journal(folder: Path) -> list[str]:
    """A line a run: the cell, when it began and when it ended."""
    return (folder / grid.ROOT / "smoke" / "notebooks" / "runs.txt").read_text().splitlines()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A grid that ran undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    code, words, errors = finish(folder)
    assert code == 0, errors
    assert "record: runs/ablations/results/tcis/smoke" in words
    return folder


def test_every_cell_once_and_in_order(whole):
    jobs = {job.name: job for job in engine.planned(CONFIG)}
    order = runs(whole)
    assert sorted(order) == sorted(jobs)
    place = {jobs[name].done: number for number, name in enumerate(order)}
    assert all(place[need] < place[job.done] for job in jobs.values() for need in job.needs)


def test_when_the_engine_itself_fails_its_own_words_are_shown(tmp_path):
    code, _, errors = finish(tmp_path, CONFIG | {"studies": "tcis"}, arguments=("--no-such-option",))
    assert code == 1
    assert "--no-such-option" in errors


def test_no_more_at_once_than_asked_for(whole):
    spans = [tuple(map(float, line.split()[1:])) for line in journal(whole)]
    assert max(sum(began <= moment < ended for began, ended in spans) for moment, _ in spans) <= 2


def test_a_second_call_does_nothing_in_seconds(whole):
    began, before = time.perf_counter(), runs(whole)
    code, words, _ = finish(whole)
    assert code == 0 and "nothing to do" in words and runs(whole) == before
    assert time.perf_counter() - began < 30  # about two on an idle machine


def test_killed_at_random_moments_it_ends_with_the_same_tables(whole, tmp_path):
    """SIGKILL to Snakemake with its cells, to Snakemake alone (its cells live on for a moment), and in the end to a cell alone: ten times.

    What was finished before the last run is not run again by it.
    """
    draw, hits = random.Random(20250124), 0
    for victim in (*("all", "snakemake") * 4, "all", "papermill"):
        # Nothing of the former round lives on here: `communicate` waited until the last cell had closed its output.
        done = {job.name for job in engine.planned(CONFIG) if (tmp_path / job.done).is_file()}
        before = Counter(runs(tmp_path)) if done else Counter()
        process = start(tmp_path, STUB_SECONDS="4")
        deadline = time.monotonic() + 60
        while not family(process.pid, "papermill") and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 1.5))
        chosen = family(process.pid, "" if victim == "all" else victim)[: 1 if victim == "papermill" else None]
        hits += bool(chosen)
        for pid in chosen:
            kill(pid)
        if victim == "all":
            kill(process.pid)
        process.communicate(timeout=250)
    code, _, errors = finish(tmp_path)
    assert code == 0, errors
    assert hits == 10
    assert tables(tmp_path) == tables(whole)
    again = Counter(runs(tmp_path))
    assert done and {name: again[name] for name in done} == {name: before[name] for name in done}


def test_a_cell_that_fails_once_is_tried_again(whole, tmp_path):
    code, _, errors = finish(tmp_path, CONFIG | {"studies": "tcis"}, STUB_FAIL_ONCE="train_stage1")
    assert code == 0, errors
    assert list((tmp_path / "runs").rglob("*.tried")), "no cell failed"
    assert tables(tmp_path).items() <= tables(whole).items()


def family(pid: int, part: str) -> list[int]:
    """Processes below one whose command holds a text."""
    lines = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout.splitlines()
    children: dict[int, list[tuple[int, str]]] = {}
    for line in lines:
        own, parent, command = line.split(None, 2)
        children.setdefault(int(parent), []).append((int(own), command))
    found, waiting = [], [pid]
    while waiting:
        for own, command in children.get(waiting.pop(), ()):
            waiting.append(own)
            if part in command and command.startswith(sys.executable):
                found.append(own)
    return found


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def test_a_failing_cell_is_named_and_leaves_the_others_whole(whole, tmp_path):
    code, words, errors = finish(tmp_path, STUB_FAIL="tcis")
    assert code == 1
    assert "failed: study: tcis: CausalPoseError: this cell was told to fail (see runs/ablations/smoke/notebooks/tcis-" in errors
    assert "record: runs/ablations/results/clustering/smoke" in words
    others = {name: text for name, text in tables(whole).items() if "tcis/" not in name}
    assert {name: text for name, text in tables(tmp_path).items() if "tcis/" not in name} == others
    assert finish(tmp_path)[0] == 0 and tables(tmp_path) == tables(whole)


def test_what_waits_for_a_failing_cell_is_counted(tmp_path):
    code, _, errors = finish(tmp_path, CONFIG | {"studies": "tcis"}, STUB_FAIL="train_stage1")
    assert code == 1 and "failed: stage1: seed 0: CausalPoseError" in errors
    assert "not run, for what they need is missing: 2 stage2, 2 evaluation, 1 study" in errors


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="a small file system to fill can be mounted by root alone")
def test_a_full_disk_leaves_the_results_whole(whole, tmp_path):
    """On a file system that fills up, some cells end and the others say why; with room they are made up for."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        code, _, errors = finish(disk, STUB_BYTES="700000")
        assert code == 1 and "No space left on device" in errors, errors
        done = tables(disk)
        assert 0 < len(done) < len(tables(whole)) and done.items() <= tables(whole).items()
        assert not list((disk / "runs").rglob("*/.weights-*")), "a half-written file stayed"
        subprocess.run(["mount", "-o", "remount,size=40m", disk], check=True)
        assert finish(disk, STUB_BYTES="700000")[0] == 0 and tables(disk) == tables(whole)
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def test_two_runs_in_one_folder_are_refused(tmp_path):
    (tmp_path / grid.ROOT).mkdir(parents=True)
    with engine._alone(tmp_path / grid.ROOT), pytest.raises(CausalPoseError, match="running already"):
        engine.run(CONFIG, parallel=1, folder=tmp_path, progress=False)


def test_listing_says_what_is_left(whole, tmp_path):
    text = engine.listing(CONFIG, 2, folder=tmp_path)
    assert "0.2 min  stage2: tcis/random, seed 0" in text and "with 2 at once" in text
    brief = engine.listing(CONFIG, 2, brief=True, folder=whole)
    assert "stage2        4 of 4 finished" in brief and brief.endswith("12 of 12 cells are finished")


def test_forecast_learns_from_finished_cells(whole, tmp_path):
    """A seed more: its minutes are those of the cells that are there (1.5 seconds each, and ten for a process)."""
    shutil.copytree(whole, tmp_path / "copy")
    text = engine.listing(CONFIG | {"seeds": "0,1"}, 1, folder=tmp_path / "copy")
    assert f"{11.5 / 60:.1f} min  stage2: tcis/random, seed 1" in text


def test_forecast_goes_by_the_steps_of_a_cell(tmp_path):
    """Four times the steps take four times the minutes of the table; three batches a step, three times."""
    asked = {"scale": "book", "seeds": "0"}
    text = engine.listing(asked | {"studies": "paper_tasks,auxiliary_tasks", "arms": "none,mask"}, 1, folder=tmp_path)
    assert "8.0 min  stage1: paper_tasks/mask, seed 0" in text and "2.0 min  stage1: auxiliary_tasks/mask, seed 0" in text
    text = engine.listing(asked | {"studies": "auxiliary_tasks", "arms": "more-clips"}, 1, folder=tmp_path)
    assert "6.0 min  stage1: auxiliary_tasks/more-clips, seed 0" in text


@pytest.mark.parametrize(
    "given, part",
    [
        ({"seeds": "0,x"}, "seeds"),
        ({"seeds": "-1"}, "must not be negative"),
        ({"stuides": "tcis"}, "unknown setting stuides"),
        ({"steps": 0}, "steps"),
    ],
)
def test_wrong_settings(given, part):
    with pytest.raises(CausalPoseError, match=part):
        engine.asked_from({"scale": "smoke"} | given)


def provenance(path: Path, pairs: set[tuple[str, int]], **parameters) -> Path:
    """What a record says of the run that made it."""
    asked = {"scale": "book", "steps": None, "seeds": sorted({seed for _, seed in pairs}), "main": True} | parameters
    entries = [{"variant": variant, "seed": seed} for variant, seed in sorted(pairs)]
    path.write_text(json.dumps({"parameters": asked, "entries": entries}))
    return path


FULL = {("none", 0), ("none", 1), ("mask", 0), ("mask", 1)}


@pytest.mark.parametrize(
    "pairs, parameters, expected",
    [
        (FULL, {}, False),
        (FULL | {("none", 2), ("mask", 2)}, {"main": False}, False),
        ({("none", 0), ("mask", 0)}, {}, True),
        ({("none", 0), ("none", 1)}, {"arms": ["none"]}, True),
        (FULL, {"steps": 50}, True),
    ],
)
def test_a_lesser_run_does_not_replace_a_record(tmp_path, pairs, parameters, expected):
    record = provenance(tmp_path / "record.json", FULL)
    assert engine.lesser(provenance(tmp_path / "run.json", pairs, **parameters), record) is expected
    assert engine.lesser(tmp_path / "run.json", tmp_path / "absent.json") is False


def trial(path: Path, seeds: tuple[int, ...], clips: int, resamples: int = 2) -> Path:
    """What a record of the attribution study says."""
    tasks = [{"part": "maps", "arm": "stage1", "seed": seed, "clips": [clip, clip + 1]} for seed in seeds for clip in range(0, clips, 2)]
    path.write_text(json.dumps({"sizes": {"training": {"steps": 9}, "question": {"resamples": resamples}}, "tasks": tasks}))
    return path


@pytest.mark.parametrize(
    "seeds, clips, resamples, expected",
    [
        ((0, 1), 8, 2, False),
        ((0, 1, 2), 8, 2, False),
        ((0, 1), 10, 2, False),
        ((0,), 8, 2, True),
        ((0, 1), 6, 2, True),
        ((0, 1), 8, 4, True),
    ],
)
def test_a_lesser_trial_does_not_replace_a_record(tmp_path, seeds, clips, resamples, expected):
    record = trial(tmp_path / "record.json", (0, 1), 8)
    assert engine.lesser(trial(tmp_path / "run.json", seeds, clips, resamples), record) is expected


def test_the_recorded_trial_is_not_replaced_by_a_part_of_it(tmp_path):
    recorded = Path(__file__).parents[2] / engine.RESULTS / "attribution" / "book" / "provenance.json"
    facts = json.loads(recorded.read_text())
    part = tmp_path / "part.json"
    part.write_text(json.dumps(facts | {"tasks": facts["tasks"][:1]}))
    assert engine.lesser(part, recorded) and not engine.lesser(recorded, recorded)
