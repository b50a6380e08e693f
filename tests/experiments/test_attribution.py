"""The attribution study: its tables by hand, its tasks on made-up numbers, and one real task of every part on small models."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from causalpose.errors import CausalPoseError
from causalpose.experiments import parameters
from causalpose.experiments.attribution import models, record, study, tables
from causalpose.experiments.attribution.models import Training
from causalpose.experiments.attribution.parameters import AttributionParameters
from causalpose.experiments.attribution.subject import COLUMNS, Question

SMALL = (
    "model.height=32", "model.width=32", "model.backbone.width=32", "model.backbone.depth=1", "model.backbone.heads=2",
    "model.encoder.depth=1", "model.encoder.heads=2", "model.head.channels=8", "model.fte.depth=1", "model.fte.heads=2",
    "model.fte.clusters=4",
)  # fmt: skip


def rows(part="maps", arm="stage2", seeds=(0, 1), clips=range(4), method="tcis", score="agreement", value=lambda seed, clip: 0.1 * clip):
    return pd.DataFrame(
        [(part, arm, seed, clip, "nose", method, score, value(seed, clip)) for seed in seeds for clip in clips], columns=COLUMNS
    )


def test_summary_is_the_mean_over_seeds_and_clips():
    found = tables.summary(pd.concat([rows(value=lambda s, c: s + c), rows(method="uniform", value=lambda s, c: np.nan)]), 200)
    assert len(found) == 1 and found["mean"][0] == 2.0 and (found["seeds"][0], found["clips"][0]) == (2, 4)
    assert found["low"][0] < 2 < found["high"][0]


def test_the_ceiling_is_the_root_of_the_reliability():
    found = tables.summary(rows(method="effect", score="ceiling", value=lambda s, c: 0.64 if c else -3.0), 200)
    assert found["mean"][0] == pytest.approx(0.8 * 3 / 4)


def test_scores_are_packed_to_five_digits(tmp_path):
    """And else without loss: undefined scores are left out; rows keep their order, and numbers that belong to no map their empty method."""
    given = pd.concat(
        [
            rows("shortcut", "biased", method="", score="lean", value=lambda s, c: np.nan if c == 2 else 0.125 * c),
            rows(method="tcis"),
            rows(method="tcis", score="seconds", value=lambda s, c: 1 / 3),
        ]
    )
    (tmp_path / record.SCORES).write_bytes(record.packed(given))
    found = record.unpacked(tmp_path / record.SCORES)
    assert len(found) == 6 + 8 + 8 and found["part"].drop_duplicates().tolist() == ["shortcut", "maps"]
    keys = [name for name in COLUMNS if name != "value"]
    both = given.dropna().merge(found, on=keys, suffixes=("", " found"))
    assert len(both) == 22 and both["value found"].tolist() == [float(f"{value:.5g}") for value in both["value"]]


def test_seconds_are_summarised_by_their_median():
    paused = rows(score="seconds", value=lambda s, c: 500.0 if (s, c) == (0, 3) else 1.0)
    assert tables.summary(paused, 200)["mean"].tolist() == [1.0]
    assert tables.summary(rows(value=lambda s, c: 1.0 + 9 * (c == 3)))["mean"][0] > 3, "other scores keep their mean"


def test_paired_differences_take_the_common_clips():
    both = pd.concat([rows(value=lambda s, c: c + 1.0), rows(method="centre", clips=range(1, 6), value=lambda s, c: float(c))])
    interval = tables.paired(both, "maps", ("stage2", "tcis"), ("stage2", "centre"), "agreement")
    assert (interval.mean, interval.low, interval.high, interval.clips) == (1, 1, 1, 3)
    compared = tables.comparisons(both, against=("centre",))
    assert compared[["method", "against", "mean"]].to_numpy().tolist() == [["tcis", "centre", 1.0]]


def test_a_map_reveals_the_shortcut_only_above_its_twin():
    stick = {"loud": 0.9, "mute": 0.5}
    table = pd.concat(
        [rows("shortcut", arm, (0,), method=m, score="stick_auc", value=lambda s, c, v=v, a=arm: (v if a == "biased" else 0.5) + 0.01 * c)
         for m, v in stick.items() for arm in ("biased", "unbiased")]
    )  # fmt: skip
    assert tables.revealed(table).set_index("method")["verdict"].to_dict() == {"loud": "reveals", "mute": "silent"}


def test_what_scores_well_where_nothing_is_known_is_called_out():
    table = pd.concat(
        [
            rows(arm="untrained", method="edges", score="body_auc", value=lambda s, c: 0.8),
            rows(arm="untrained", method="tcis", score="body_auc", value=lambda s, c: 0.5),
            rows(arm="untrained", method="random", score="body_auc", value=lambda s, c: 0.52 if c else 0.47),
            rows("outside", "stage1", method="centre", score="body_auc", value=lambda s, c: 0.9),
            rows("outside", "stage1", method="saliency", score="body_auc", value=lambda s, c: 0.6),
            rows("outside", "stage1", method="effect", score="body_auc", value=lambda s, c: 0.6),
        ]
    )
    assert tables.called_out(table)[["placebo", "method"]].to_numpy().tolist() == [
        ["untrained", "edges"],
        ["joint outside (stage1)", "centre"],
    ]


def test_disagreements_are_the_lowest_once_a_clip():
    found = tables.disagreements(rows(value=lambda s, c: c - 10.0 * s), count=2)
    assert found[["seed", "clip", "value"]].to_numpy().tolist() == [[1, 0, -10.0], [1, 1, -9.0]]
    with pytest.raises(CausalPoseError, match="no clip has"):
        tables.disagreements(rows(method="saliency"))


@pytest.fixture
def trial(tmp_path) -> study.Study:
    sizes = replace(study.SIZES["smoke"], clips=3, block=1, seeds=(0, 1), main=("stage1",), aside=())
    return study.Study(sizes, tmp_path)


def test_the_plan_has_every_part_early_and_every_block(trial):
    tasks = study.plan(trial)
    assert [task.arm for task in tasks[:2]] == ["stage1", "stage1"] and {task.seed for task in tasks[:2]} == {0, 1}
    assert {task.part for task in tasks} == {"maps", "shortcut", "outside", "sanity", "occluded"}, (
        "no stage 2, no selection; no data, no video"
    )
    assert [task.clips for task in tasks if task.part == "maps" and task.arm == "stage1"] == [(0,), (0,), (1,), (1,), (2,), (2,)]


def test_resumed_and_counted_in_whole_blocks(trial, monkeypatch):
    """The clock passes the limit while block 1 is measured: its half is not counted; a second call goes on, a third does nothing."""
    asked = []

    def measure(subject, clips, question, **extra):
        asked.append((subject.arm, subject.seed, tuple(clips)))
        return rows("maps", subject.arm, (subject.seed,), clips)

    measure.__module__ = "causalpose.experiments.attribution.maps"
    monkeypatch.setitem(study.MEASURES, "maps", measure)
    monkeypatch.setattr(study.Study, "subject", lambda self, task, progress: study.Subject(task.arm, task.seed, None, None))
    monkeypatch.setattr(models, "key", lambda *arguments: "weights")
    monkeypatch.setattr(study, "plan", lambda s: [study.Task("maps", "stage1", seed, (clip,)) for clip in range(3) for seed in (0, 1)])
    clock = iter([0.0, *[float(n) for n in range(100)]])
    with monkeypatch.context() as patch:
        patch.setattr(study.time, "perf_counter", lambda: next(clock))
        answers = study.run(trial, minutes=7.5 / 60, progress=False)
    assert len(asked) == 3 and len(answers.left) == 3 and set(answers.rows["clip"]) == {0}
    assert set(study.run(trial, progress=False).rows["clip"]) == {0, 1, 2} and len(asked) == 6
    study.run(trial, progress=False)
    assert len(asked) == 6, "a finished task is read"
    scores = trial.folder(study.Task("maps", "stage1", 0, (0,))) / study.SCORES
    scores.write_bytes(b"damaged")
    study.run(trial, progress=False)
    assert len(asked) == 7, "a damaged one is measured again"


def test_a_task_is_named_by_what_decides_it(trial):
    task = study.Task("maps", "stage1", 0, (0,))
    other = replace(trial, sizes=replace(trial.sizes, question=replace(trial.sizes.question, resamples=3)))
    longer = replace(trial, sizes=replace(trial.sizes, training=replace(trial.sizes.training, steps=5)))
    keys = [trial.key(task), other.key(task), longer.key(task), trial.key(replace(task, seed=1)), trial.key(replace(task, part="outside"))]
    assert len(set(keys)) == 5 and trial.key(task) == keys[0]


def test_arms_differ_as_they_say():
    training = Training(10, 8)
    plain, tcis = training.config("stage2", 0), training.config("stage2-tcis", 0)
    from causalpose.config import differing_keys

    assert set(differing_keys(training.config("biased", 0), training.config("unbiased", 0))) == {"data.bias"}
    assert set(differing_keys(plain, training.config("stage2", 1))) == {"train.seed"}
    assert {"model.fte.supervision"} <= set(differing_keys(plain, tcis)) <= set(models.PLAIN_TCIS)
    assert training.config("shuffled", 0).data.shuffled and training.config("biased-backbone", 0).train.steps == 60


@pytest.mark.slow
def test_every_part_on_small_models(tmp_path):
    """Trained for two steps, so the numbers mean nothing; every part runs, the record is written, read, and refused when edited."""
    from causalpose.config import override, preset
    from causalpose.model.cmpose import CMPose
    from causalpose.training import checkpoint

    config = override(override(preset("tiny"), SMALL), {"model.stage": 0})
    start = checkpoint.save(tmp_path / "start.safetensors", CMPose(config.model), config, {})
    quick = Question(("tcis", "saliency", "centre", "encoder_attention"), resamples=2, samples=4)
    sizes = replace(study.SIZES["smoke"], training=Training(2, 8, 4, overrides=SMALL), question=quick, clips=2, block=2, selection=3)
    trial = study.Study(sizes, tmp_path / "runs", {"tiny-backbone": str(start)})
    answers = study.run(trial, progress=False)
    assert set(answers.rows["part"]) == {"maps", "selection", "shortcut", "outside", "sanity", "occluded"} and not answers.left
    folder = record.write(tmp_path / "record", trial, answers, {"scale": "smoke"})
    found = record.read(folder)
    assert found.value("stage2", "tcis", "agreement")["clips"] == 2 and len(found.maps) == 2 * len(found.disagreements) > 0
    (folder / record.SUMMARY).write_text("edited")
    with pytest.raises(CausalPoseError, match="summary.csv is changed"):
        record.read(folder)


@pytest.mark.parametrize(
    "given, text",
    [
        ({"scale": "large"}, "scale = 'large'"),
        ({"methods": "lime"}, "unknown method 'lime'"),
        ({"effort": "some"}, "effort = 'some'"),
        ({"models": "stage3"}, "unknown model 'stage3'"),
        ({"clips": 0}, "clips = 0"),
        ({"minutes": -1}, "minutes = -1"),
        ({"backbone": "nowhere"}, "nowhere"),
        ({"clisp": 3}, "did you mean 'clips'"),
    ],
)
def test_wrong_parameters(given, text):
    with pytest.raises(CausalPoseError, match=text):
        parameters.check(AttributionParameters, dict(given))


def test_the_notebooks_cell_says_what_the_class_says(repository):
    import nbformat

    notebook = nbformat.read(repository / "ablations" / "attribution.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    namespace: dict = {}
    exec(cell.source, {}, namespace)
    assert parameters.check(AttributionParameters, namespace) == AttributionParameters()


def test_words_of_the_trial_follow_the_intervals():
    compared = pd.DataFrame(
        [("stage1", score, name, "centre", low, high) for score in ("agreement", "infidelity")
         for name, low, high in (("saliency", 0.1, 0.2), ("tcis", -0.1, 0.1), ("grad_cam", -0.3, -0.1), ("random", -0.5, -0.4))],
        columns=["arm", "score", "method", "against", "low", "high"],
    )  # fmt: skip
    said = tables.against_control(compared, "stage1", "agreement")
    assert said == "on stage1 1 of 3 methods are better, 1 worse, 1 not distinguishable"
    lower = compared.assign(low=-compared["high"], high=-compared["low"])
    assert tables.against_control(lower, "stage1", "infidelity") == said
    with pytest.raises(CausalPoseError, match="nothing is compared with 'edges'"):
        tables.against_control(compared, "stage1", "agreement", "edges")


def test_words_of_the_selection_follow_the_paired_difference():
    scores = {"own": 60.0, "random": 50.0, "oracle": 61.0}
    table = pd.concat([rows("selection", method=m, score="pck@0.3", value=lambda s, c, v=v: v + c) for m, v in scores.items()])
    said = tables.selection_summary(table, "stage2")
    assert "below oracle (-1.0 points), above random (+10.0 points)" in said and "30% of the tokens" in said
    with pytest.raises(CausalPoseError, match="no selection trial of 'stage1'"):
        tables.selection_summary(table, "stage1")
