"""The clock of the benchmarks."""

import time

import pytest
import torch

from causalpose.benchmark.timing import alternate


def test_the_fastest_turn_counts_and_the_first_does_not(monkeypatch):
    """Seconds of the calls: 1 (not counted), 5, 3, 4."""
    now, spent = [0.0], iter([1.0, 5.0, 3.0, 4.0])
    monkeypatch.setattr(time, "process_time", lambda: now[0])
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def call():
        now[0] += next(spent)

    assert alternate({"a": call}, 3) == {"a": 3.0}


@pytest.mark.parametrize("threads", [1, 2])
def test_waiting_counts_with_more_than_one_thread_only(threads, monkeypatch):
    """A process that sleeps uses no time of its own."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    seconds = alternate({"sleep": lambda: time.sleep(0.02)}, 1)["sleep"]
    assert (seconds >= 0.02) == (threads > 1)


def test_candidates_take_turns_in_changing_order():
    called = []
    alternate({name: lambda name=name: called.append(name) for name in "ab"}, 2)
    assert "".join(called) == "baabba"
