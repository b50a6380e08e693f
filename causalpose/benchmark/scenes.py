"""How fast scenes are rendered, and whether rendering could hold back training (ours).

    from causalpose.benchmark.scenes import scenes_benchmark
    print(scenes_benchmark().to_string(index=False))

Throughput is wall-clock, the median of the repeats, with one thread in one process and, for `two`, in each of two processes.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from causalpose.benchmark import timing
from causalpose.benchmark.timing import COLUMNS
from causalpose.config import Config, DataConfig, preset
from causalpose.errors import CausalPoseError
from causalpose.scenes.dataset import SceneSource
from causalpose.scenes.world import World

# (height, width): clips/s that a first prototype rendered on two cores at T = 3, with less in the picture; the next size had none.
PROTOTYPE = {(64, 48): 235.0, (96, 72): 120.0, (128, 96): 60.0, (256, 192): None}
IDLE_LIMIT = 0.05  # of a training step, waiting for clips


def _seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall-clock seconds of `work`, after one call that does not count."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _portion(height: int, width: int, first: int, clips: int) -> int:
    """What a process of two renders; returns the number of clips."""
    return len(World(height, width, 3).render(range(first, first + clips)))


def _two_processes(pool: ProcessPoolExecutor, height: int, width: int, clips: int, repeats: int) -> float:
    """Clips/s of two processes that take turns at portions of `clips` clips."""
    jobs = 4

    def work() -> None:
        for done in [pool.submit(_portion, height, width, n * clips, clips) for n in range(jobs)]:
            done.result()

    return jobs * clips / _seconds(work, repeats)


def throughput(sizes: Sequence[tuple[int, int]], clips: int, repeats: int, progress: bool = False) -> list[dict]:
    """Rows of clips/s by size, in one process and in two, and the exponent of the time's growth with the number of pixels."""
    rows, cost = [], []
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for height, width in tqdm(sizes, desc="rendering speed", unit="size", disable=not progress, leave=False):
            case, known = f"{height}x{width}, T=3", PROTOTYPE.get((height, width))
            world = World(height, width, 3)
            one = clips / _seconds(lambda world=world: world.render(range(clips)), repeats)
            two = _two_processes(pool, height, width, clips, repeats)
            rows.append(_row(case, "throughput, one core", one, "clips/s"))
            rows.append(_row(case, "throughput, two cores", two, "clips/s", known))
            cost.append((np.log(height * width), -np.log(one)))
    if len(cost) > 1:
        slope = float(np.polyfit(*zip(*cost, strict=True), 1)[0])
        rows.append(_row("growth with pixels", "exponent of the time per clip (1: proportional)", slope, "", 1.0))
    return rows


def people(clips: int, repeats: int) -> list[dict]:
    """Rows of what a second person costs: the same clips with nobody else and with a bystander, in turns."""
    alone, together = (World(64, 48, 3).do(distractors={"bystander": n}) for n in (0.0, 1.0))
    times: dict[str, list[float]] = {"alone": [], "together": []}
    for _ in range(repeats):
        for name, world in (("alone", alone), ("together", together)):
            times[name].append(_seconds(lambda world=world: world.render(range(clips)), 1))
    first, second = (statistics.median(times[name]) / clips * 1e3 for name in ("alone", "together"))
    return [
        _row("one person, 64x48", "time per clip", first, "ms"),
        _row("two people, 64x48", "time per clip", second, "ms", first),
    ]


def training(repeats: int, clips: int = 256) -> list[dict]:
    """Rows of how much of a training step of `tiny`'s stage 1 waits for clips, rendered ahead and rendered on the fly.

    A step is forward, backward and update on `train.batch` clips. Clips that are there already are read in the loop; those on the fly are
    rendered by one thread that reads ahead as in `causalpose train --on-the-fly --set train.workers=1`.
    """
    config = preset("tiny")
    size = config.train.batch
    wait, step = _waiting(config, SceneSource(config.model, DataConfig(clips=clips), cache=False), repeats, workers=0)
    live = SceneSource(config.model, DataConfig(clips=clips), ahead=False)
    live_wait, live_step = _waiting(config, live, repeats, workers=1)
    render = _seconds(lambda: live.batch(range(size)), repeats)
    case = f"tiny stage 1, batch {size}"
    return [
        _row(case, "loader's share of a step", 100 * wait / step, "%", 100 * IDLE_LIMIT),
        _row(case, "loader's share of a step, on the fly", 100 * live_wait / live_step, "%", 100 * IDLE_LIMIT),
        _row(case, "training step", size / step, "clips/s"),
        _row(case, "training step, on the fly", size / live_step, "clips/s", size / step),
        _row(case, "rendering on the fly, one core", size / render, "clips/s", size / step),
    ]


def _waiting(config: Config, source: SceneSource, repeats: int, workers: int) -> tuple[float, float]:
    """Median seconds that a training step waits for its clips, and that it takes in all, once what was read ahead at first is used up."""
    from causalpose.model.cmpose import CMPose
    from causalpose.training.objective import Objective
    from causalpose.training.prefetch import Prefetch

    objective = Objective(CMPose(config.model), config).train()
    optimiser = torch.optim.AdamW(objective.parameters(), lr=1e-4)
    draws = torch.Generator().manual_seed(0)
    first = 1 + 2 * workers
    chosen = torch.randint(len(source), (first + repeats, config.train.batch), generator=draws)
    read = Prefetch(lambda turn: source.batch(chosen[turn]), lambda turn: list(range(turn + 1, len(chosen))), workers)
    waiting, stepping = [], []
    with closing(read):
        for turn in range(len(chosen)):
            began = time.perf_counter()
            clip = read(turn)
            loaded = time.perf_counter()
            objective(clip, tokens=None, truth=None, generator=draws)[0].backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if turn >= first:
                waiting.append(loaded - began)
                stepping.append(time.perf_counter() - began)
    return statistics.median(waiting), statistics.median(stepping)


def scenes_benchmark(
    *, sizes: Sequence[tuple[int, int]] = tuple(PROTOTYPE), clips: int = 64, repeats: int = 5, progress: bool = False
) -> pd.DataFrame:
    """All of it as a table with the columns section, case, quantity, value, unit, reference, ratio (value / reference).

    sizes     (height, width) of the frames; clips: of a measurement; repeats: the median of so many counts
    Torch is held to one thread while it runs.
    """
    if clips < 1 or repeats < 1 or not sizes:
        raise CausalPoseError(f"scenes_benchmark: sizes = {sizes}, clips = {clips} and repeats = {repeats} must each be at least one")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = throughput(sizes, clips, repeats, progress) + people(clips, repeats) + training(repeats)
    finally:
        torch.set_num_threads(threads)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(case: str, quantity: str, value: float, unit: str, reference: float | None = None) -> dict:
    known = () if reference is None else (reference, value / reference)
    return timing.row("scenes", case, quantity, value, unit, *known)
