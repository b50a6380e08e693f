"""Tables for the notebooks: what was asked and resolved, PCK by condition with its protocol, and differences in words."""

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from causalpose.config import config_hash, differing_keys, preset
from causalpose.experiments.arms import study
from causalpose.experiments.comparisons import sentence
from causalpose.experiments.measure import Measured
from causalpose.experiments.parameters import Parameters, Plan, StudyParameters
from causalpose.experiments.protocol import Protocol


@dataclass(frozen=True)
class Table:
    """A table with a caption below it; HTML in a notebook, text elsewhere."""

    frame: pd.DataFrame
    caption: str

    def __repr__(self) -> str:
        return f"{self.frame.to_string(na_rep='–')}\n{self.caption}"

    def _repr_html_(self) -> str:
        return f"{self.frame.to_html(na_rep='–', border=0)}<p><small>{html.escape(self.caption)}</small></p>"


def resolved(parameters: Parameters, plan: Plan) -> Table:
    """What was asked for and what it comes to: every configuration key that differs from the preset, with both values."""
    base = preset(plan.config.preset)
    changed = differing_keys(base, plan.config)
    frame = pd.DataFrame(
        {"preset": {key: a for key, (a, _) in changed.items()}, "this run": {key: b for key, (_, b) in changed.items()}}, dtype=object
    )
    given = ", ".join(f"{name} = {value!r}" for name, value in asdict(parameters).items() if value not in (None, ()))
    start = f"starts from {plan.init or 'nothing'} ({plan.reason})"
    return Table(
        frame, f"Asked for: {given}. Everything else is preset {plan.config.preset}; {start}; configuration {config_hash(plan.config)}."
    )


def arms(parameters: StudyParameters) -> Table:
    """The arms of a study: what each changes, and what it is compared with."""
    of, asked = study(parameters.study), parameters.asked
    rows = {
        arm.name: {
            "changes": ", ".join(f"{key} = {value}" for key, value in arm.changes.items()) or "the baseline",
            "trained": "yes" if arm.trained else "no, tested as it is",
            "compared with": of.reference(arm) if of.reference(arm) != arm.name else "",
        }
        for arm in asked.chosen_arms(of)
    }
    common = ", ".join(f"{key} = {value}" for key, value in of.baseline.items())
    seeds = ", ".join(map(str, asked.chosen_seeds))
    given = ", ".join(f"{name} = {value!r}" for name, value in asdict(parameters).items() if value not in (None, (), False))
    return Table(
        pd.DataFrame.from_dict(rows, orient="index"),
        f"Asked for: {given}. Seeds {seeds}; backbones {', '.join(asked.chosen_backbones)}."
        + (f" The baseline differs from scale {parameters.scale} in {common}." if common else ""),
    )


def protocol_line(protocol: Protocol, measured: Measured) -> str:
    """The protocol that a score means nothing without."""
    sets = ", ".join(measured.results["dataset"].unique())
    per = measured.clips.groupby(["dataset", "variant", "seed", "condition"], sort=False).size().max()
    severity = f", severity {protocol.severity}" if protocol.conditions else ""
    per_condition = " per condition" if protocol.conditions else ""
    return (
        f"PCK in per cent, mean over joints, threshold times the torso; {sets}: {per} clips{per_condition}{severity}; "
        f"boxes from the ground truth; flip test {'on' if protocol.flip_test else 'off'}."
    )


def pck_table(measured: Measured, protocol: Protocol, metric: str = "PCK@0.2") -> Table:
    """Variants by condition, mean over seeds (± standard deviation over seeds where there are several)."""
    rows = measured.results
    rows = rows[(rows["joint"] == "mean") & (rows["metric"] == metric)]
    grouped = rows.groupby(["variant", "condition"], sort=False)["value"]
    text = grouped.agg(lambda values: f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""))
    frame = text.unstack("condition").loc[list(rows["variant"].unique()), list(rows["condition"].unique())]
    frame.index.name = frame.columns.name = None
    seeds = rows.groupby("variant")["seed"].nunique().max()
    return Table(
        frame, f"{metric}. {protocol_line(protocol, measured)}" + (f" Mean ± standard deviation of {seeds} seeds." if seeds > 1 else "")
    )


def findings(compared: pd.DataFrame, metric: str = "PCK@0.2", conditions: Sequence[str] | None = None) -> str:
    """One sentence a comparison: 95 % interval from a paired bootstrap over seeds and clips, effect size (paired Cohen d), p as it is and
    after Holm's correction over the study; where nothing is distinguishable, the difference that would have shown."""
    rows = compared[compared["metric"] == metric]
    rows = rows if conditions is None else rows[rows["condition"].isin(list(conditions))]
    lines = []
    for _, row in rows.iterrows():
        line = f"{metric}: {sentence(row)}; d {row.effect:+.2f}, p {row.p:.3f}, after Holm {row.p_holm:.3f}"
        if not row.distinguishable:
            line += f"; {row.detectable:.1f} points would have shown"
        elif row.p_holm >= 0.05:
            line += "; of so many comparisons one such is expected by chance"
        lines.append(line)
    return "\n".join(lines)
