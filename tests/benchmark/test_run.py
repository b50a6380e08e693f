"""`causalpose bench`: every section at tiny sizes, the record, and a section that fails."""

import json
import math
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from causalpose.benchmark import run
from causalpose.benchmark.cost import clip_cost
from causalpose.benchmark.model import stage2_benchmark
from causalpose.cli import main
from causalpose.cli.bench import RECORD, table
from causalpose.config import PRESETS, preset
from causalpose.errors import CausalPoseError
from causalpose.model.attention import Block
from causalpose.skeletons import keypoint_set

EXPECTED = {
    "stage-2": {"blocks", "whole model", "backbone", "clustering"},
    "reuse": {"one frame of a video", "largest difference of a heatmap's logit"},
    "vitpose": {"backbone and head", "largest difference of a heatmap's logit"},
    "training": {"step, clean branch", "step, three branches"},
    "choices": {"written out, forward and backward", "freed memory kept"},
    "clustering": {"DPC-kNN, a clip", "tokens assigned as in the plain form", "exponent (2: with all pairs)"},
    "peak": {"peak", "forward, share of the peak", "training, share of the peak"},
}


@pytest.fixture(scope="module")
def bench():
    return run.run(list(EXPECTED), quick=True)


@pytest.mark.parametrize("section", EXPECTED)
def test_a_section_gives_its_rows(bench, section):
    if section == "vitpose":
        pytest.importorskip("transformers")
    assert section not in bench.missing, bench.missing[section]
    rows = bench.results[bench.results["section"] == section]
    assert EXPECTED[section] <= set(rows["quantity"])
    assert np.isfinite(rows["value"]).all() and (rows.loc[rows["unit"] == "ms", "value"] > 0).all()
    assert not rows.duplicated(["case", "quantity"]).any()
    compared = rows[(rows["unit"] == "ms") & rows["reference"].notna()]
    assert np.allclose(compared["ratio"], compared["reference"] / compared["value"])


def test_the_blocks_are_measured_alone_and_with_several_clips(bench):
    rows = bench.results[(bench.results["section"] == "stage-2") & (bench.results["quantity"] == "blocks")]
    assert sorted("batch 4" in case for case in rows["case"]) == [False, True]


def test_the_blocks_are_measured_as_they_run_in_the_model(monkeypatch):
    """Alone, with several clips and within stage 2: a sequence of one length always comes with the same bias and gate, or with none."""
    given, forward = {}, Block.forward

    def watched(self, x, with_weights=False, bias=None, gate=None, at=None):
        keys = tuple(None if key is None else tuple(key[0].tolist()) for key in (bias, gate))
        given.setdefault(x.shape[1], []).append((len(x), keys))
        return forward(self, x, with_weights, bias, gate, at)

    monkeypatch.setattr(Block, "forward", watched)
    found = stage2_benchmark(name="tiny", frames=3, batch=2, turns=1)
    refined = found[found["quantity"] == "tokens refined"].iloc[0]
    few, every = given[int(refined["value"])], given[int(refined["reference"])]
    for calls in (few, every):
        assert {clips for clips, _ in calls} == {1, 2} and len({keys for _, keys in calls}) == 1
    (bias, gate), nothing = few[0][1], every[0][1]
    config = preset("tiny", ["model.stage=2"]).model
    rows, columns = config.grid
    merged = [math.exp(value) for value in bias[-config.fte.clusters :]]
    causal = len(bias) - len(merged) - len(keypoint_set(config.keypoints))
    assert sum(merged) == pytest.approx(3 * rows * columns - causal) and gate == pytest.approx([1.0] * len(gate))
    assert nothing == (None, None)


def test_what_must_agree_agrees(bench):
    rows = bench.results.set_index(["section", "quantity"])["value"]
    assert rows["reuse", "largest difference of a heatmap's logit"].max() < 1e-4
    assert rows["clustering", "tokens assigned as in the plain form"].max() > 99
    if "vitpose" not in bench.missing:
        assert rows["vitpose", "largest difference of a heatmap's logit"].max() < 1e-4
    assert bench.results.loc[bench.results["case"] == "share of the whole model", "value"].sum() == pytest.approx(100)


def test_a_section_that_fails_is_named_and_the_others_go_on(monkeypatch):
    broken = run.Section(
        "", "clustering", "clustering_benchmark", {"batch": 1, "tokens": 4, "count": 9, "width": 8, "growth": (), "turns": 1}
    )
    monkeypatch.setitem(run.SECTIONS, "clustering", broken)
    found = run.run(["clustering", "evaluation"], quick=True)
    assert set(found.missing) == {"clustering"} and set(found.results["section"]) == {"evaluation"}
    with pytest.raises(CausalPoseError, match="unknown section 'speed'; sections: cost, stage-2"):
        run.run(["speed"])


def rows(section, value, case="a"):
    return pd.DataFrame([dict(zip(run.COLUMNS, (section, case, "q", value, "ms", 2.0, 2.0 / value), strict=True))])


def test_a_record_is_read_back_and_a_section_replaces_its_own_rows(tmp_path, monkeypatch):
    """And it keeps its own provenance when another is measured later, by other code."""
    facts = run.here()
    run.record(run.Bench(pd.concat([rows("peak", 1.0), rows("reuse", 1.0)]), None, {}, {"peak": 1.0, "reuse": 1.0}), tmp_path)
    kept = run.read(tmp_path).provenance["sections"]["peak"]
    monkeypatch.setattr(run, "here", lambda: {**facts, "date": "later", "commit": "another"})
    run.record(run.Bench(rows("reuse", 4.0), None, {"vitpose": "gone"}, {"reuse": 1.0, "vitpose": 0.1}), tmp_path)
    found = run.read(tmp_path)
    assert found.results.set_index("section")["value"].to_dict() == {"peak": 1.0, "reuse": 4.0} and found.cost is None
    assert found.provenance["sections"]["vitpose"]["missing"] == "gone" and "missing" not in found.provenance["sections"]["reuse"]
    assert found.provenance["sections"]["peak"] == kept and found.provenance["sections"]["reuse"]["commit"] == "another"
    assert {"seconds", "threads", "date", "commit", "uncommitted_changes", "source_hash", "processor", "torch"} == set(
        found.provenance["sections"]["peak"]
    )
    (tmp_path / run.RESULTS).write_text("section\n")
    with pytest.raises(CausalPoseError, match=r"results\.csv is not what provenance\.json recorded"):
        run.read(tmp_path)
    with pytest.raises(CausalPoseError, match="holds no record"):
        run.read(tmp_path / "other")


def test_a_record_says_how_many_threads_were_at_work(tmp_path, monkeypatch):
    """Some sections take one thread whatever was asked for: their record says one."""
    seconds = {"peak": 1.0, "mcl": 1.0, "scenes": 1.0, "cost": 1.0}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    run.record(run.Bench(pd.concat([rows("peak", 1.0), rows("mcl", 1.0)]), None, {}, seconds), tmp_path)
    threads = {name: section["threads"] for name, section in run.read(tmp_path).provenance["sections"].items()}
    assert threads == {"peak": 2, "mcl": 1, "scenes": 1, "cost": 2}


def test_merged_sections_keep_their_provenance(tmp_path, monkeypatch):
    """A section measured elsewhere replaces its rows, and says where it comes from; the others stay."""
    here, other, facts = tmp_path / "here", tmp_path / "other", run.here()
    run.record(run.Bench(pd.concat([rows("peak", 1.0), rows("reuse", 1.0)]), None, {}, {"peak": 1.0, "reuse": 1.0}), here)
    monkeypatch.setattr(run, "here", lambda: {**facts, "commit": "another"})
    run.record(run.Bench(rows("peak", 8.0), None, {}, {"peak": 2.0}), other)
    monkeypatch.undo()
    found = run.read(run.merge(here, other))
    assert found.results.set_index("section")["value"].to_dict() == {"peak": 8.0, "reuse": 1.0}
    commits = {name: section["commit"] for name, section in found.provenance["sections"].items()}
    assert commits == {"peak": "another", "reuse": facts["commit"]} and found.provenance["sections"]["peak"]["seconds"] == 2.0


@pytest.fixture(scope="module")
def committed(repository):
    return run.read(repository / RECORD)


def test_the_committed_record_is_whole(committed):
    """Every section was measured, and has its rows."""
    sections = committed.provenance["sections"]
    assert sections.keys() == set(run.NAMES) and not any("missing" in section for section in sections.values())
    assert set(committed.results["section"]) == set(run.SECTIONS) and set(committed.cost["preset"]) == set(PRESETS)


def test_the_committed_costs_are_those_of_the_model_as_it_is(committed):
    """A row of `tiny` metered anew, to the six digits that are written."""
    config = preset("tiny", ["model.stage=2"]).model
    key = {"preset": "tiny", "height": config.height, "width": config.width, "frames": config.frames, "keep_rate": config.fte.keep_rate}
    rows = committed.cost
    (row,) = rows[(rows[list(key)] == pd.Series(key)).all(axis=1)].to_dict("records")
    counted = ("parameters", "forward_flops", "step_flops", "activation_mb", "explicit_mb")
    now = clip_cost(config, batch=8)
    assert {name: row[name] for name in counted} == pytest.approx({name: now[name] for name in counted}, rel=1e-5)


def test_aims_are_met_or_missed():
    frame = pd.DataFrame(
        [("stage-2", "base 256x192, T=5", "blocks", 1.0, "ms", 2.0, 2.0), ("clustering", "8 x 672 tokens of 768", "t", 3.0, "ms", 9.0, 3.0),
         ("peak", "base 256x192", "forward, share of the peak", 71.0, "%", np.nan, np.nan), ("scenes", "x", "y", 1.0, "", np.nan, np.nan)],
        columns=list(run.COLUMNS),
    )  # fmt: skip
    found = run.with_aims(frame)
    assert list(found["met"]) == [False, True, True, None] and list(found["aim"]) == ["≥ 3x", "< 4 ms", "≥ 70 %", ""]
    heading, *lines = table(found).splitlines()
    assert "ratio" in heading.split() and "met" not in heading.split()
    assert [line.split()[-1] for line in lines[:3]] == ["missed", "met", "met"] and "met" not in lines[3] and "missed" not in lines[3]


def test_command(monkeypatch, capsys, tmp_path):
    def call(*options):
        monkeypatch.setattr(sys, "argv", ["causalpose", "bench", *options])
        code = 0
        try:
            main.run()
        except SystemExit as end:
            code = end.code or 0
        return (code, *capsys.readouterr())

    code, output, _ = call("--sections", "evaluation,cost", "--quick", "--json", str(tmp_path / "b.json"))
    assert code == 0 and "PoseTrack AP" in output and "threads, torch" in output and "cost on paper" in output
    written = json.loads((tmp_path / "b.json").read_text())
    assert {line["section"] for line in written["results"]} == {"evaluation"} and len(written["cost"]) == 1
    code, _, error = call("--quick", "--record")
    assert code == 2 and "exclude each other" in error
    assert "where the time goes" in call("--sections", "list")[1]
