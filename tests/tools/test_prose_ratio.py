"""Words of prose for a line of code: counted by hand on a small page, and above the bound on every chapter."""

import pytest

from tools import prose_ratio
from tools.prose_ratio import Ratio

PAGE = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  name: python3
  display_name: Python 3
  language: python
---

# Two words

See {doc}`other-page` twice.

:::{exercise} Do it
:label: not-counted-words-here

| a | b |
| --- | --- |
:::

```{code-cell} ipython3
# a comment
a = 1

b = 2
```

```{code-cell} ipython3
:tags: [hide-input]

folded = 3
```
"""


def test_counts_by_hand():
    """Two, words; See, reference, twice; a, b. Fences and options are no prose; two lines of code, the folded one is not counted."""
    found = prose_ratio.measure(PAGE)
    assert (found.words, found.lines) == (7, 2) and found.value == 3.5


def test_a_listing_is_a_fault():
    assert prose_ratio.faults({"listing": Ratio(49, 10), "chapter": Ratio(50, 10), "prose": Ratio(9, 0)}) == [
        "listing: 4.9 words of prose for a line of code, fewer than 5; say more, or move code into the library"
    ]


@pytest.mark.parametrize(("name", "found"), prose_ratio.ratios().items())
def test_no_chapter_is_a_listing(name, found):
    assert not prose_ratio.faults({name: found})


def test_the_book_as_a_whole_keeps_the_aim():
    """Nine to eleven words for a line, over all chapters."""
    found = prose_ratio.ratios().values()
    assert 9 <= sum(one.words for one in found) / sum(one.lines for one in found) <= 11
