"""The allocator setting."""

import platform
import sys

import pytest

from causalpose.training import memory


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert memory.keep_large_blocks() is False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_an_allocator_without_mallopt_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    assert memory.keep_large_blocks() is False


@pytest.mark.skipif(not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_glibc_accepts_every_threshold():
    """It refuses one above half of its largest heap, and then nothing would be said."""
    assert memory.keep_large_blocks() is True
