"""The deterministic flag."""

import pytest
import torch

from causalpose.training import loop
from causalpose.training.determinism import deterministic
from tests.training.dots import Dots, config
from tests.training.test_loop import _equal, _weights


class Asking(Dots):
    """Dots that note whether PyTorch is deterministic while they are read."""

    def batch(self, indices):
        self.was = torch.are_deterministic_algorithms_enabled()
        return super().batch(indices)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_run_has_it_and_the_caller_does_not(tmp_path, stage):
    """Every operation of the three stages has a deterministic kernel, and the flag changes no result on a CPU."""
    for wanted in ("true", "false"):
        settings = config(f"model.stage={stage}", "train.steps=2", f"train.deterministic={wanted}", "train.augment=true")
        source = Asking(settings.model)
        loop.train(settings, source, tmp_path / wanted, progress=False)
        assert source.was == (wanted == "true") and not torch.are_deterministic_algorithms_enabled()
    assert _equal(_weights(tmp_path / "true"), _weights(tmp_path / "false"))


def test_an_operation_without_such_a_kernel_raises():
    def add_up():  # `put_` without accumulation has none, also on a CPU
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))

    with deterministic(True), pytest.raises(RuntimeError, match="deterministic"):
        add_up()
    add_up()
