"""Pictures on the pages tell their size, and a docstring's code has no stray marks."""

import importlib.util

import matplotlib.pyplot as plt
import pytest

from tools.check_book import ROOT


def extension(name: str):
    """A module of `book/_ext`."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_picture_gets_the_size_of_its_file(tmp_path):
    sizes = extension("picture_sizes")
    plt.imsave(tmp_path / "a.png", [[[0.0, 0.0, 0.0]] * 30] * 20)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    body = '<p><img alt="What it shows." src="../_images/a.png" /></p>'
    expected = body.replace('a.png" />', 'a.png" width="30" height="20" style="--width: 30px" />')
    assert sizes.with_sizes(body, tmp_path) == expected
    assert sizes.with_sizes(expected, tmp_path) == expected, "once is enough"
    for left in (body.replace("a.png", "gone.png"), body.replace("a.png", "broken.png"), '<img src="data:image/png;base64,AA" />'):
        assert sizes.with_sizes(left, tmp_path) == left


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tokens `[B, T]` of a `Clip`.", "Tokens ``[B, T]`` of a ``Clip``."),
        ("`A` and `B`", "``A`` and ``B``"),
        ("several `Clip`s at once", "several ``Clip``\\ s at once"),
        ("the pre`fix` and a*b|c_d", "the pre\\ ``fix`` and a\\*b\\|c\\_d"),
    ],
)
def test_a_paragraph_in_restructuredtext(text, expected):
    assert extension("api_docstrings").prose(text) == expected
