"""The page on pretrained weights writes a file under Hugging Face's names: they, and the shapes, are those of the real model."""

import torch

from causalpose.config import preset
from causalpose.model.cmpose import CMPose
from tests.weights.conftest import huggingface
from tools.exercise_notebooks import BOOK, notebook


def test_the_pages_file_has_the_real_names_and_shapes() -> None:
    """The cell that defines the file, run alone, against the model that `transformers` builds at the same size."""
    cells = [cell.source for cell in notebook((BOOK / "posetrack-and-weights.md").read_text()).cells if cell.cell_type == "code"]
    (cell,) = (source for source in cells if "def huggingface_file" in source)
    names = {"preset": preset, "CMPose": CMPose, "torch": torch}
    exec(cell.split("\ntheirs = huggingface_file()")[0], names)
    found = {name: tensor.shape for name, tensor in names["huggingface_file"]().items()}
    assert found == {name: tensor.shape for name, tensor in huggingface(384, 12, depth=2).state_dict().items()}
