"""Comparing speeds fairly: the candidates take turns in one process, and the fastest turn of each counts.

Whatever else the machine does can only add to a turn, so the fastest one is the least disturbed; and in turns it meets all candidates
alike, which is why the ratios are worth more than the seconds. With one thread a second is one of the process's own on its core, so that
a busy machine counts less still; with more it is one of the clock.
"""

import time
from collections.abc import Callable, Mapping

import torch

COLUMNS = ("section", "case", "quantity", "value", "unit", "reference", "ratio")
NAN = float("nan")


def alternate(work: Mapping[str, Callable[[], object]], turns: int, progress: Callable[[str], None] | None = None) -> dict[str, float]:
    """Fewest seconds of each candidate over `turns` alternations, whose order is turned round every time.

    One call of each before them does not count. `progress` is told the name of what runs next.
    """
    seconds: dict[str, list[float]] = {name: [] for name in work}
    names, clock = list(work), time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for turn in range(turns + 1):
        for name in names if turn % 2 else names[::-1]:
            if progress is not None:
                progress(name)
            began = clock()
            work[name]()
            if turn:
                seconds[name].append(clock() - began)
    return {name: min(values) for name, values in seconds.items()}


def row(section: str, case: str, quantity: str, value: float, unit: str, reference: float = NAN, ratio: float = NAN) -> dict:
    """One row of `COLUMNS`."""
    return dict(zip(COLUMNS, (section, case, quantity, value, unit, reference, ratio), strict=True))


def faster(section: str, case: str, quantity: str, seconds: float, reference: float) -> dict:
    """A row of milliseconds beside a reference's; the ratio says how many times as fast as the reference it is."""
    return row(section, case, quantity, 1e3 * seconds, "ms", 1e3 * reference, reference / seconds)
