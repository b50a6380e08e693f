"""How a model is tested."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """Splits, and for scenes conditions, clips per condition, severity and levels (empty: the level that the model was trained on)."""

    splits: tuple[str, ...]
    conditions: tuple[str, ...] = ()
    clips: int = 0
    severity: int = 3
    flip_test: bool = False
    levels: tuple[str, ...] = ()
