"""The walk through a deck finds what is wrong with it."""

import nbformat
import pytest

from tools import build_slides, check_slides
from tools.check_site import browser


@pytest.mark.skipif(browser() is None, reason="no Chromium")
def test_a_slide_higher_than_its_frame_and_a_file_from_elsewhere_are_faults(tmp_path) -> None:
    good = [build_slides.Slide(f"Slide {n}", 2, ["a point with $x^2$"], [], ["said"]) for n in range(3)]
    high = nbformat.v4.new_markdown_cell("\n\n".join(f"line {n}" for n in range(60)))
    bad = [*good, build_slides.Slide("Too much", 2, ["a point"], [high], [])]
    writer = build_slides.exporter()
    build_slides.copy_assets(tmp_path, writer.template_paths)
    for name, slides in (("good", good), ("bad", bad)):
        text, _ = writer.from_notebook_node(build_slides.lecture(slides))
        if name == "bad":
            text = text.replace("</head>", '<script src="https://example.org/script.js"></script></head>')
        (tmp_path / f"{name}.html").write_text(text)
    found = check_slides.faults(tmp_path, browser())
    assert found and all(fault.startswith("bad.html") for fault in found), found
    assert any("its frame 1100 x 720" in fault for fault in found) and any("asks https://example.org" in fault for fault in found)
