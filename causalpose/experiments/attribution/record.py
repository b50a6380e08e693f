"""The record of the attribution study: a folder with files that belong together.

scores.csv.xz               every number: a row a part, arm, seed, clip, joint and method, a column a score
results.csv.gz              means over clips in the tidy columns of every study; `condition` holds the method
summary.csv                 means with 95 % intervals over seeds x clips
comparisons.csv             paired differences between methods
shortcut.csv, called_out.csv, disagreements.csv    the verdicts (`tables`)
disagreements.safetensors   the maps and effects of the clips in disagreements.csv
provenance.json             code, protocol, sizes, machine, time, and a hash of each file above
"""

import json
import lzma
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from causalpose.data.files import read_json, replacing
from causalpose.errors import CausalPoseError
from causalpose.evaluation import tables as tidy_tables
from causalpose.experiments.attribution import models, tables
from causalpose.experiments.attribution.study import STUDY, Answers, Study, Task
from causalpose.experiments.attribution.subject import COLUMNS, TEST_SEED, measured_effect
from causalpose.experiments.modules import code_hash
from causalpose.experiments.provenance import file_hash, here
from causalpose.explain import methods, targets
from causalpose.explain.intervention import CAUSES
from causalpose.explain.perturbation import FRACTIONS, SUBSTRATES
from causalpose.explain.truth import BODY_TOKEN

SCORES, RESULTS, SUMMARY, COMPARISONS = "scores.csv.xz", "results.csv.gz", "summary.csv", "comparisons.csv"
SHORTCUT, CALLED_OUT, DISAGREEMENTS, MAPS = "shortcut.csv", "called_out.csv", "disagreements.csv", "disagreements.safetensors"
PROVENANCE = "provenance.json"
_TABLES = {SUMMARY: "summary", COMPARISONS: "comparisons", SHORTCUT: "shortcut", CALLED_OUT: "called_out", DISAGREEMENTS: "disagreements"}

_KEYS = [name for name in COLUMNS if name not in ("score", "value")]


@dataclass(frozen=True)
class Record:
    """A record as read: all rows, the tables, the maps of the clips of greatest disagreement, and the provenance."""

    rows: pd.DataFrame
    summary: pd.DataFrame
    comparisons: pd.DataFrame
    shortcut: pd.DataFrame
    called_out: pd.DataFrame
    disagreements: pd.DataFrame
    maps: dict[str, torch.Tensor]
    provenance: dict

    def value(self, arm: str, method: str, score: str, part: str = "maps") -> pd.Series:
        """One row of the summary: mean, low, high, seeds, clips."""
        s = self.summary
        found = s[(s["part"] == part) & (s["arm"] == arm) & (s["method"] == method) & (s["score"] == score)]
        if len(found) != 1:
            raise CausalPoseError(f"the record holds no {score} of {method or 'the model'} on {arm} in part {part}")
        return found.iloc[0]


def write(folder: Path | str, study: Study, answers: Answers, facts: dict) -> Path:
    """Write the record, replacing the one in the folder; returns the folder."""
    folder, rows = Path(folder), answers.rows
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / SCORES) as temporary:
        temporary.write_bytes(packed(rows))
    tidy_tables.write(folder / RESULTS, results(rows))
    worst = _disagreements(rows)
    made = {
        SUMMARY: tables.summary(rows), COMPARISONS: tables.comparisons(rows), SHORTCUT: tables.revealed(rows),
        CALLED_OUT: tables.called_out(rows), DISAGREEMENTS: worst,
    }  # fmt: skip
    for name, frame in made.items():
        with replacing(folder / name) as temporary:
            frame.to_csv(temporary, index=False, float_format="%.6g")
    maps = disagreement_maps(study, worst)
    with replacing(folder / MAPS) as temporary:
        save_file(maps, temporary)
    sizes = asdict(study.sizes)
    names = sorted({(task["arm"], task["seed"]) for task in answers.tasks})
    trained = {f"{arm}-seed{seed}": models.describe(arm, seed, study.sizes.training, study.root, study.starts) for arm, seed in names}
    document = {
        "study": STUDY, **facts, "sizes": sizes, "models": trained, "protocol": protocol(study),
        "tasks": [{key: task[key] for key in ("part", "arm", "seed", "clips", "seconds", "commit", "machine")} for task in answers.tasks],
        "not_reached": dict(Counter(task.part for task in answers.left)), **here(),
        "code_hash": code_hash("causalpose.experiments.attribution.record"),
        "files": {name: file_hash(folder / name) for name in (SCORES, RESULTS, *made, MAPS)},
    }  # fmt: skip
    with replacing(folder / PROVENANCE) as temporary:
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return folder


def packed(rows: pd.DataFrame) -> bytes:
    """Long rows as a wide table, compressed CSV: keys stand once for all scores of a map. Scores that are not defined are left out."""
    wide = rows.set_index([*_KEYS, "score"])["value"].unstack("score", sort=False)
    wide = wide.loc[pd.MultiIndex.from_frame(rows[_KEYS].drop_duplicates())]  # in the order of the rows
    # Five digits are more than three seeds of two hundred clips can tell, and the file stays small enough for a repository.
    return lzma.compress(wide.to_csv(float_format="%.5g").encode(), format=lzma.FORMAT_XZ)


def unpacked(path: Path) -> pd.DataFrame:
    """The long rows of `packed`."""
    wide = pd.read_csv(path, compression="xz", dtype={name: str for name in _KEYS if name not in ("seed", "clip")})
    if list(wide.columns[: len(_KEYS)]) != _KEYS:
        raise CausalPoseError(f"{path} is no score file of the attribution study: its first columns are {', '.join(wide.columns[:6])}")
    wide = wide.fillna({"method": ""})  # the numbers that are no map's
    rows = wide.melt(_KEYS, var_name="score", value_name="value", ignore_index=False).dropna(subset="value")
    return rows.sort_index(kind="stable")[list(COLUMNS)].reset_index(drop=True)


def protocol(study: Study) -> dict:
    """What the numbers mean nothing without."""
    return {
        "target": targets.DEFINITION,
        "clips": f"scenes, level default, world seed {TEST_SEED} (the test split); one joint a clip, drawn by its number from those inside",
        "effects": {name: list(causes) for name, causes in CAUSES.items()},
        "agreement": "Spearman over the tokens of all frames with the mean absolute effect of re-rendered surroundings; agreement_target: "
        "within the target frame; _content: against effects of all content",
        "top_overlap": "share of the tenth of the tokens with the largest effects that is in the map's first tenth",
        "body_token": BODY_TOKEN,
        "substrates": list(SUBSTRATES), "fractions": list(FRACTIONS),
        "effort": asdict(study.sizes.question.effort), "resamples": study.sizes.question.resamples,
        "selection": "nothing was chosen on the test split",
    }  # fmt: skip


def results(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over clips in the tidy columns; `condition` holds the method, `metric` the part and the score."""
    means = rows.dropna(subset="value").groupby(["part", "arm", "seed", "method", "score"], sort=False)["value"].mean().reset_index()
    return tidy_tables.tidy(
        pd.DataFrame(
            {
                "study": STUDY, "variant": means["arm"], "seed": means["seed"],
                "dataset": means["part"].map(lambda part: "real video/val" if part == "real_video" else "scenes/test"),
                "condition": means["method"].replace("", "model"), "joint": "one a clip", "metric": means["part"] + ": " + means["score"],
                "value": means["value"],
            }
        )
    )  # fmt: skip


def _disagreements(rows: pd.DataFrame) -> pd.DataFrame:
    try:
        return tables.disagreements(rows)
    except CausalPoseError:  # no stage-2 model among the arms
        return pd.DataFrame(columns=["arm", "seed", "clip", "joint", "value"])


def disagreement_maps(study: Study, worst: pd.DataFrame) -> dict[str, torch.Tensor]:
    """`tcis-i` and `effect-i`, `[T, rows, columns]`, for row i of the table of disagreements."""
    out = {}
    for i, row in enumerate(worst.itertuples()):
        subject = study.subject(Task("maps", row.arm, row.seed, (row.clip,)), False)
        world = subject.world()
        effect, _ = measured_effect(
            subject.model, world, row.clip, subject.names.index(row.joint), "surroundings", study.sizes.question.resamples
        )
        out[f"tcis-{i}"] = methods.explain(subject.model, world.render([row.clip]), row.joint, "tcis").values[0].contiguous()
        out[f"effect-{i}"] = effect[0].contiguous()
    return out


def read(folder: Path | str) -> Record:
    """Read a record; a file that is not what its provenance says is refused."""
    folder = Path(folder)
    if not (folder / PROVENANCE).is_file():
        raise CausalPoseError(f"{folder} holds no record ({PROVENANCE}); run ablations/attribution.ipynb with results={folder}")
    document = read_json(folder / PROVENANCE)
    for name, expected in document["files"].items():
        if not (folder / name).is_file() or file_hash(folder / name) != expected:
            state = "changed" if (folder / name).is_file() else "missing"
            raise CausalPoseError(f"{folder / name} is {state}: not what {PROVENANCE} recorded; run the study again")
    frames = {attribute: pd.read_csv(folder / name, keep_default_na=False, na_values=["nan"]) for name, attribute in _TABLES.items()}
    return Record(unpacked(folder / SCORES), **frames, maps=load_file(folder / MAPS), provenance=document)
