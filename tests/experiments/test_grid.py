"""The grid: what names a cell, what it starts from, and that laying it out is quick and needs no torch."""

import subprocess
import sys

import pytest

from causalpose.config import differing_keys
from causalpose.errors import CausalPoseError
from causalpose.experiments import grid, jobs, modules
from causalpose.experiments.arms import STUDIES, study
from causalpose.model.cmpose import CMPose
from causalpose.training import checkpoint


def only(name: str = "tcis", arm: str = "attention", **asked) -> grid.Evaluation:
    (entry,) = grid.entries(name, grid.Asked(**({"backbones": ("tiny-backbone",), "seeds": (0,)} | asked), arms=(arm,)))
    return entry.evaluation


def test_a_cell_is_another_cell_when_anything_that_counts_changes():
    base = only()
    assert only().key == base.key and only().model.key == base.model.key
    other = [
        only(steps=3), only(batch=3), only(clips=3), only(seeds=(1,)), only(arm="random"), only(overrides=("train.lr=0.5",)),
        only(overrides=("model.mcl.mask_ratio=0.7",)),
    ]  # fmt: skip
    assert len({base.model.key, *(cell.model.key for cell in other)}) == 1 + len(other)
    tested = [only(test_clips=5), only(severity=4), only(test_split="val")]
    assert {cell.model.key for cell in tested} == {base.model.key}
    assert len({base.key, *(cell.key for cell in tested)}) == 1 + len(tested)


@pytest.mark.parametrize("key", ["train.seed", "model.stage", "data.source", "model.fte.selector"])
def test_an_override_may_not_replace_what_arms_and_seeds_differ_in(key):
    """It would make one model of them all, and the table would still call them arms and seeds."""
    asked = grid.Asked(seeds=(0, 1), arms=("attention", "random"), overrides=(f"{key}=1",))
    with pytest.raises(CausalPoseError, match=f"override {key}"):
        grid.entries("tcis", asked)


def test_an_override_of_what_the_chosen_arms_share_is_taken():
    asked = grid.Asked(seeds=(0,), arms=("attention", "random"), overrides=("model.fte.keep_rate=0.5",))
    assert {entry.evaluation.model.config.model.fte.keep_rate for entry in grid.entries("tcis", asked)} == {0.5}


def test_another_stage_below_is_another_cell():
    """A setting of stage 1 alone leaves stage 2's own configuration as it is, and still makes another model of it."""
    changed = only(overrides=("model.mcl.mask_ratio=0.7",)).model
    assert changed.config == only().model.config and changed.init.config != only().model.init.config


def test_the_longer_run_of_the_paper_s_tasks_is_longer_and_nothing_else():
    """As often round its clips; at other scales, the cells of the shorter study."""
    short, long = (only(name, "both", scale="book").model.config for name in ("auxiliary_tasks", "paper_tasks"))
    grown = {"train.steps": (200, 800), "train.warmup": (20, 80), "data.clips": (3072, 12_288)}
    assert differing_keys(short, long) == grown
    assert short.train.steps / short.data.clips == long.train.steps / long.data.clips
    for scale in ("smoke", "paper"):
        assert only("auxiliary_tasks", "both", scale=scale).key == only("paper_tasks", "both", scale=scale).key


def test_a_single_frame_that_is_trained_on_takes_the_study_s_settings():
    """It is an arm of the study, not a backbone below it: settings asked of all arms reach it, and so do the study's sizes."""
    for arm in ("vitpose", "ppt", "stage-1", "stage-1-and-2"):
        asked = only("whole_method", arm, scale="book", overrides=("train.lr=3e-5", "data.seed=7"), clips=640).model
        assert (asked.config.train.lr, asked.config.data.seed, asked.config.data.clips) == (3e-5, 7, 640), arm
    backbone = only("auxiliary_tasks", "none", backbones=("train",), overrides=("train.lr=3e-5", "data.seed=7")).model.init
    assert backbone.config.train.lr != 3e-5 and backbone.config.data.seed != 7


def test_all_arms_of_the_comparison_start_alike():
    """From the same weights of their seed, whether these are shipped or of the grid's own making; and no shipped ones know the clips."""
    arms = [arm.name for arm in STUDIES["whole_method"].arms if arm.trained and arm.changes.get("model.stage") != 2]
    for backbone in ("tiny-backbone", "train"):
        starts = {name: only("whole_method", name, scale="book", backbones=(backbone,)).model.init for name in arms}
        keys = {start if isinstance(start, str) else start.key for start in starts.values()}
        assert len(keys) == 1 and None not in keys, starts
    seen = {checkpoint.load(name)[1].data.seed for name in ("tiny-backbone", "tiny-backbone-b")}
    assert STUDIES["whole_method"].baseline["data.seed"] not in seen


def test_on_real_video_arms_that_need_a_renderer_are_named():
    asked = grid.Asked(scale="book", data="folder", seeds=(0,), backbones=("tiny-backbone",))
    with pytest.raises(CausalPoseError, match="tcis: only rendered scenes can train the arms oracle; .*name arms: attention supervised"):
        grid.entries("tcis", asked)
    with pytest.raises(CausalPoseError, match="train the arms shift-none, "):
        grid.entries("auxiliary_tasks", asked)
    assert len(grid.entries("clustering", asked)) == 9


def test_a_backbone_of_the_grid_sees_what_the_regime_says():
    """Clean scenes alone, where the arm trains on them alone; its seed and number of clips are its own."""
    names = ("shift-none", "none")
    shifted, usual = (only("auxiliary_tasks", name, scale="book", backbones=("train",)).model.init.config for name in names)
    assert differing_keys(usual, shifted) == {"data.condition": ("mixed", "clean")}


def test_what_trains_end_to_end_has_clips_enough():
    """All arms of the comparison train on the same clips, which no other study of the scale uses; a backbone keeps its own."""
    arms = [arm.name for arm in STUDIES["whole_method"].arms if arm.trained]
    models = {name: only("whole_method", name, scale="book").model for name in arms}
    assert {name: (m.config.data.clips, m.config.data.seed) for name, m in models.items()} == dict.fromkeys(arms, (65_536, 2))
    assert models["stage-1-and-2"].init.config.data == models["stage-1"].config.data
    assert only("tcis", scale="book").model.config.data.clips < 65_536
    assert only("whole_method", "stage-1", scale="smoke").model.config.data.clips == 64


def test_studies_share_their_common_cells():
    """Clustering's baseline is an arm of TCIS, and `both` of the auxiliary tasks is the stage 1 below them."""
    tcis, clustering = only("tcis", "supervised"), only("clustering", "dpc-knn-16")
    assert tcis.key == clustering.key
    assert only("auxiliary_tasks", "both").model.key == tcis.model.init.key


def test_other_weights_under_the_same_name_are_another_cell(tmp_path, small_weights):
    copy, keys = tmp_path / "weights.safetensors", set()
    _, config, _ = checkpoint.read(small_weights[0])
    for _ in range(2):
        checkpoint.save(copy, CMPose(config.model), config, {})
        keys.add(grid.weights_key(str(copy)))
    assert len(keys) == 2


def test_seeds_take_the_backbones_in_turn():
    asked = grid.Asked("book", backbones=("a", "b"), seeds=(0, 1, 2))
    found = [grid.model(study("tcis"), study("tcis").arms[0], asked, seed, asked.backbones).init.init for seed in asked.seeds]
    assert found == ["a", "b", "a"]


def test_smoke_trains_a_backbone_of_its_own():
    names = [cell.kind for cell in grid.cells(grid.entries("tcis", grid.Asked()))]
    assert names == ["backbone", "stage1", "stage2", "evaluation", "stage2", "evaluation"]


def test_code_that_a_cell_imports_counts_and_other_code_does_not(tmp_path, monkeypatch):
    root = tmp_path / "causalpose"
    files = {
        "__init__": "",
        "loop": "from causalpose import model\nimport numpy",
        "model": "def f():\n    from causalpose.part import x",
        "part": "x = 1",
        "plot": "",
    }
    for name, text in files.items():
        root.mkdir(exist_ok=True)
        (root / f"{name}.py").write_text(text)
    monkeypatch.setattr(modules, "ROOT", root)

    def current() -> str:
        modules.code_hash.cache_clear()
        return modules.code_hash("causalpose.loop")

    try:
        assert list(modules.closure(["causalpose.loop"])) == ["causalpose", "causalpose.loop", "causalpose.model", "causalpose.part"]
        first = current()
        (root / "plot.py").write_text("y = 2")
        assert current() == first
        (root / "part.py").write_text("x = 2")
        assert current() != first
    finally:
        modules.code_hash.cache_clear()


def test_what_draws_and_what_lists_arms_decides_no_number():
    needed = set(modules.closure([*grid._TRAINING_CODE, *grid._TEST_CODE]))
    assert not {name for name in needed if name.startswith(("causalpose.plotting", "causalpose.cli."))}
    assert not needed & {f"causalpose.experiments.{name}" for name in ("arms", "grid", "jobs", "scale", "studies")}


@pytest.mark.parametrize("scale", ["smoke", "book", "paper"])
def test_templates_come_to_the_very_cells(scale):
    """What a template makes of a job's parameters is the configuration that the grid planned."""
    from causalpose.experiments import parameters

    classes = {"backbone": parameters.BackboneParameters, "stage1": parameters.Stage1Parameters, "stage2": parameters.Stage2Parameters}
    asked = grid.Asked(scale, seeds=(0, 1), overrides=("model.mcl.weight_mask=0.6", "model.fte.depth=1"))
    cells = {cell.key: cell for name in STUDIES for cell in grid.cells(grid.entries(name, asked))}
    seen = 0
    for job in jobs.jobs(list(STUDIES), asked):
        if job.kind in classes:
            given = {k: tuple(v) if isinstance(v, list) else v for k, v in job.parameters.items()}
            assert classes[job.kind](**given).config() == cells[given["cell"]].config
            seen += 1
    assert seen == sum(isinstance(cell, grid.Model) for cell in cells.values())


def test_jobs_come_after_what_they_need():
    done: set[str] = set()
    for job in jobs.jobs(list(STUDIES), grid.Asked()):
        assert set(job.needs) <= done, job.name
        done.add(job.done)


def test_the_grid_is_laid_out_without_torch():
    program = "import sys; from causalpose.experiments import engine; engine.planned({'scale': 'book'}); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "False"
