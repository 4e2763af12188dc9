"""Teachers: class tables are checked, every form of output is read, what is uncertain counts less."""

import numpy as np
import onnx
import pytest
import yaml
from helpers.tiny_teacher import SIZE, TABLE, write_teacher

from models.adaptation.teacher import Teacher, load_table
from occfusion_ros.core.errors import ContractError
from occfusion_ros.core.frames import CameraImage
from occfusion_ros.core.labels import Label

ROAD, CAR, WALL = Label.DRIVEABLE_SURFACE, Label.CAR, Label.MANMADE


def _striped() -> CameraImage:
    """Red, green and blue from left to right, at twice the teacher's size and a little too tall."""
    image = np.zeros((SIZE[0] * 2 + 20, SIZE[1] * 2, 3), np.uint8)
    for channel, part in enumerate(np.split(image, 3, axis=1)):
        part[..., channel] = 255
    intrinsics = np.array([[100.0, 0, SIZE[1] - 0.5], [0, 100.0, SIZE[0] + 9.5], [0, 0, 1]])
    return CameraImage("front", image, intrinsics, np.eye(4))


@pytest.mark.parametrize("form", ["logits", "half", "last", "indices", "bytes"])
def test_every_form_of_output_is_read(tmp_path, form):
    teacher = Teacher(write_teacher(tmp_path / "teacher.onnx", form=form))
    view = teacher.look(_striped())
    height, width = view.classes.shape
    assert (height, width) == (SIZE if form != "half" else (SIZE[0] // 2, SIZE[1] // 2)) and view.size == SIZE
    assert [view.classes[height // 2, width * column // 6] for column in (1, 3, 5)] == [0, 1, 2]
    assert view.sure[height // 2, width // 6] > 0.99 and view.sure.shape == view.classes.shape
    np.testing.assert_allclose(view.image_from_grid[0, 0], 50.0)  # half of the image's focal length: never squeezed
    np.testing.assert_allclose(view.image_from_grid[1, 1], 50.0)


def test_a_class_votes_for_its_names_the_first_most(tmp_path):
    table = {**TABLE, "classes": {0: "driveable_surface", 3: ["manmade", "barrier"]}}
    votes = Teacher(
        write_teacher(tmp_path / "teacher.onnx", {**table, "classes": {0: "car", 2: ["manmade", "barrier"]}})
    ).votes
    assert votes[0].argmax() == CAR and votes[1].sum() == 0
    assert votes[2, WALL] > votes[2, Label.BARRIER] > 0 and np.count_nonzero(votes) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": {0: "street"}}, "classes: 0: expected one or some of barrier, .* got street"),
        ({"classes": {0: ["car", "lorry"]}}, "got lorry"),
        ({"classes": {0: []}}, "got nothing"),
        ({"classes": {-1: "car"}}, "expected indices .* got -1"),
        ({"classes": {}}, "expected at least one, got none"),
        ({"classes": ["car"]}, "classes with an index and a name a line"),
        ({"colors": 1}, "unknown colors; expected some of size"),
        ({"size": [384]}, r"size: expected \[height, width\]"),
        ({"size": None}, "table.yaml"),
        ({"std": [1, 0, 1]}, "std: expected numbers greater than 0"),
        ({"mean": [0.5]}, "mean: expected three numbers"),
        ({"horizon": 2}, "horizon: expected a number in 0..1"),
    ],
)
def test_what_is_no_class_table_is_refused(tmp_path, change, message):
    path = tmp_path / "table.yaml"
    path.write_text(yaml.safe_dump({**TABLE, **change}))
    with pytest.raises(ContractError, match=message):
        load_table(path)


def test_a_network_that_does_not_fit_is_refused(tmp_path):
    path = write_teacher(tmp_path / "teacher.onnx")
    wrong = path.with_suffix(".yaml")
    wrong.write_text(yaml.safe_dump({**TABLE, "size": [32, 96]}))
    with pytest.raises(ContractError, match="takes images of .* its table says"):
        Teacher(path)
    wrong.write_text(yaml.safe_dump({**TABLE, "classes": {7: "car"}}))
    with pytest.raises(ContractError, match="its table names class 7, but it has 3"):
        Teacher(path).look(_striped())
    wrong.unlink()
    with pytest.raises(ContractError, match="teacher.yaml"):
        Teacher(path)
    model = onnx.load(write_teacher(path))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    onnx.save(model, path)
    with pytest.raises(ContractError, match="expected one input, an image|expected a network"):
        Teacher(path)
    path.write_bytes(b"no network")
    with pytest.raises(ContractError, match="expected a network that ONNX Runtime can load"):
        Teacher(path)
