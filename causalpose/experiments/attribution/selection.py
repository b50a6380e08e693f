"""Selection on trial (`explain.trial`) on many clips."""

from collections.abc import Sequence

import pandas as pd
import torch

from causalpose.clip import Clip
from causalpose.experiments.attribution.subject import Question, Rows, Subject
from causalpose.explain import methods, targets, trial, truth

KEEP_RATES = (0.1, 0.3)
# Maps that rank tokens as a selector would, and that no selector of the model computes.
RANKINGS = ("encoder_attention", "gradient_attention")


def selection(subject: Subject, clips: Sequence[int], question: Question, rates: Sequence[float] = KEEP_RATES) -> pd.DataFrame:
    """Other selections at the same number of tokens, and other content in the tokens that were not selected."""
    model, kind, rows = subject.model, subject.config.train.loss, Rows("selection", subject)
    batch = subject.world().render(clips)
    elsewhere = subject.world().resample("background", salt=1).render(clips)
    with torch.no_grad():
        tokens = torch.cat([model.embed(targets.inputs(model, batch[i : i + 32])) for i in range(0, len(batch), 32)])
        others = {
            "another-clip": tokens.roll(1, 0),
            "background": torch.cat([model.embed(targets.inputs(model, elsewhere[i : i + 32])) for i in range(0, len(batch), 32)]),
        }

    def put(method: str, score: str, values: torch.Tensor) -> None:
        for number, value in zip(clips, values.tolist(), strict=True):
            rows.add(number, "all", method, score, value)

    maps = {name: _ranking(subject, batch, name) for name in RANKINGS}
    everything, _ = trial.swapped(model, tokens, batch, "all", 1.0, kind)
    put("all", "pck", trial.accuracy(everything, batch))
    for rate in rates:
        own, causal = trial.swapped(model, tokens, batch, model.config.fte.selector, rate, kind)
        share = truth.body_share(batch, model.config.grid).flatten(1) >= truth.BODY_TOKEN
        put("own", f"recall_of_body@{rate:g}", (causal.cpu() & share).sum(1).double() / share.sum(1).clamp_min(1))
        for selector in ("own", *trial.SWAPS[:-1], *RANKINGS):
            chosen = maps.get(selector, selector)
            found = own if selector == "own" else trial.swapped(model, tokens, batch, chosen, rate, kind, subject.seed)[0]
            put(selector, f"pck@{rate:g}", trial.accuracy(found, batch))
            put(selector, f"shift@{rate:g}", trial.shift(found, own, batch))
        for what, replacement in others.items():
            for choice in trial.CHOICES:
                found = trial.exchanged(model, tokens, replacement, batch, choice, rate, kind, subject.seed)
                put(choice, f"pck_{what}@{rate:g}", trial.accuracy(found, batch))
                put(choice, f"shift_{what}@{rate:g}", trial.shift(found, own, batch))
    return rows.frame()


def _ranking(subject: Subject, batch: Clip, method: str) -> torch.Tensor:
    """A method's map of all joints for every clip, `[B, T, rows, columns]`; a few clips at a time, as gradients need room."""
    return torch.cat([methods.explain(subject.model, batch[i : i + 8], methods.ALL, method).values for i in range(0, len(batch), 8)])
