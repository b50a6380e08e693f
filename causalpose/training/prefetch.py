"""Batches read ahead: which clips a step needs is known beforehand, so threads decode the next ones while this one is computed."""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """`prefetch(key)` gives `load(key)`, which threads have computed already where `key` was among the `ahead(key)` of an earlier call.

    load     a pure function of its key (what is read ahead is what would have been read in place)
    ahead    the keys that will be asked for after this one, nearest first; at most `2 · workers` are kept
    workers  threads; 0 computes in place. Decoding images and video leaves Python's lock, so threads do run side by side
    """

    def __init__(self, load: Callable[..., T], ahead: Callable[..., list], workers: int):
        self.load, self.ahead, self.limit = load, ahead, 2 * workers
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch") if workers else None
        self.waiting: OrderedDict[object, Future] = OrderedDict()

    def __call__(self, key) -> T:
        if self.pool is None:
            return self.load(key)
        for wanted in (key, *self.ahead(key)[: self.limit]):
            if wanted not in self.waiting:
                self.waiting[wanted] = self.pool.submit(self.load, wanted)
        return self.waiting.pop(key).result()  # an error of `load` comes out here

    def close(self) -> None:
        """Drop what nobody will ask for any more."""
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
