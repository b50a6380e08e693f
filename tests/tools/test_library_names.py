"""The page of all names: complete, linked, and with the chapters that really use each."""

import re

import pytest

from tools import api_pages, library_names


def test_imports_attributes_and_aliases_are_uses():
    code = """
%matplotlib inline
import causalpose
from causalpose.clip import Clip as C, Visibility
from causalpose.evaluation import statistics as s
import causalpose.skeletons as sk
import numpy as np
s.paired(np.zeros(3)), Visibility.HIDDEN, sk.keypoint_set("coco17")
causalpose.config.preset("tiny")
"""
    found = library_names.called(code)
    assert {"causalpose.clip.Clip", "causalpose.clip.Visibility", "causalpose.evaluation.statistics.paired"} <= found
    assert {"causalpose.skeletons.keypoint_set", "causalpose.config.preset"} <= found
    assert not any("zeros" in name for name in found)


def test_first_sentence():
    assert library_names.first_sentence("Weights of a b.\n\nMore.") == "Weights of a b."
    assert library_names.first_sentence("One, i.e. two\nlines. Then more.") == "One, i.e. two lines."
    assert library_names.first_sentence(None) == ""


def test_every_public_name_says_what_it_is_for_and_stands_on_the_page_once():
    text = library_names.page()
    linked = re.findall(r"\{py:obj\}`\w+ <([\w.]+)>`", text)
    listed = [entry for part in library_names.names().values() for entry in part]
    assert linked == [entry.full for entry in listed] and len(set(linked)) == len(linked) > 300
    assert not [entry.full for entry in listed if len(entry.purpose) < 5]
    assert text.count("\n## ") == len(api_pages.PARTS)


def test_every_chapter_uses_the_library_and_only_names_that_there_are():
    used = library_names.uses()
    known = {entry.full for part in library_names.names().values() for entry in part}
    modules = {name for part in api_pages.PARTS for name in api_pages.modules(part)}
    chapters = {chapter for name in known & set(used) for chapter in used[name]}
    assert chapters >= {"stage-1", "stage-2", "metrics", "real-data"}
    wrong = {name for name in used if name.rsplit(".", 1)[0] in modules and re.match(r"[a-z]+$", name.rsplit(".", 1)[1])} - known
    # What is left are values and types of a module, such as a table of names: they have to be there as well.
    missing = []
    for name in sorted(wrong):
        module, attribute = name.rsplit(".", 1)
        if not hasattr(__import__(module, fromlist=[attribute]), attribute):
            missing.append((name, used[name]))
    assert not missing


@pytest.mark.parametrize("fault", ["undescribed", "none"])
def test_a_name_without_reference_stops_the_build(fault, monkeypatch, tmp_path):
    """A tiny book whose reference shows one module of two names: the extension warns exactly when the list has a third."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    monkeypatch.syspath_prepend(str(library_names.ROOT / "book" / "_ext"))
    text = "Errors\n======\n\n.. automodule:: causalpose.errors\n   :members:\n"
    (tmp_path / "index.rst").write_text(text)
    entries = [library_names.Name("causalpose.errors", "CausalPoseError", "An error.")]
    if fault == "undescribed":
        entries.append(library_names.Name("causalpose.errors", "Nowhere", "Not there."))
    monkeypatch.setattr(library_names, "names", lambda: {"": entries})
    with open(tmp_path / "warnings", "w") as warnings, patch_docutils(), docutils_namespace():
        config = {"extensions": ["sphinx.ext.autodoc", "library_names"]}
        Sphinx(tmp_path, None, tmp_path / "html", tmp_path / "trees", "html", config, status=None, warning=warnings).build()
    said = (tmp_path / "warnings").read_text()
    assert ("causalpose.errors.Nowhere is public" in said) == (fault == "undescribed")
    assert "CausalPoseError" not in said
