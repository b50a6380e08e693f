"""Batches read ahead."""

import threading

import pytest

from causalpose.training import loop
from causalpose.training.prefetch import Prefetch
from causalpose.training.sources import training_source
from tests.training.dots import Dots, config
from tests.training.test_loop import _equal, _weights


def _ahead(key):
    return list(range(key + 1, min(key + 10, 20)))


@pytest.mark.parametrize("workers", [0, 3])
def test_each_key_is_loaded_once(workers):
    loaded, lock = [], threading.Lock()

    def load(key):
        with lock:
            loaded.append(key)
        return key * key

    read = Prefetch(load, _ahead, workers)
    assert [read(key) for key in range(20)] == [key * key for key in range(20)]
    read.close()
    assert sorted(loaded) == list(range(20))


def test_it_reads_ahead():
    """The third key is being loaded before it is asked for."""
    begun = threading.Event()
    read = Prefetch(lambda key: begun.set() if key == 2 else None, _ahead, 1)
    read(0)
    assert begun.wait(5)
    read.close()


def test_errors_come_out_where_the_key_is_asked_for():
    def load(key):
        if key == 1:
            raise ValueError("damaged")
        return key

    read = Prefetch(load, _ahead, 2)
    assert read(0) == 0
    with pytest.raises(ValueError, match="damaged"):
        read(1)
    assert read(2) == 2
    read.close()


def test_a_run_with_workers_is_the_same_run(tmp_path):
    for workers in (0, 2):
        settings = config("train.steps=4", "train.accumulate=2", "train.augment=true", f"train.workers={workers}")
        loop.train(settings, Dots(settings.model), tmp_path / str(workers), progress=False)
    assert _equal(_weights(tmp_path / "0"), _weights(tmp_path / "2"))


def test_a_run_on_scenes_rendered_on_the_fly_is_the_same_run(tmp_path, monkeypatch):
    """Rendered ahead and read in the loop, or rendered by a thread while a step is computed: the same weights."""
    monkeypatch.setenv("CAUSALPOSE_CACHE", str(tmp_path / "cache"))
    for ahead, workers in ((True, 0), (False, 1)):
        settings = config("train.steps=3", "data.source=scenes", "data.clips=12", f"train.workers={workers}")
        loop.train(settings, training_source(settings, ahead=ahead), tmp_path / str(workers), progress=False)
    assert _equal(_weights(tmp_path / "0"), _weights(tmp_path / "1"))
