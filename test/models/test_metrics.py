"""The confusion matrix and its range bands against independent computations, voxel by voxel."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.evaluation.metrics import ConfusionMatrix, RangeBands
from occfusion_ros.core.grid import GridSpec

PREDICTIONS = arrays(np.uint8, (4, 3, 2), elements=st.sampled_from([0, 1, 2, 16]))
TRUTHS = arrays(np.uint8, (4, 3, 2), elements=st.sampled_from([0, 1, 2, 16, 255]))


class Reference:
    """The benchmark's figures by counting pairs in a dictionary."""

    def __init__(self, pairs) -> None:
        self.pairs = Counter((int(truth), int(predicted)) for truth, predicted in pairs if truth != 255)

    def class_iou(self, label: int) -> float:
        both = self.pairs[label, label]
        either = sum(n for (truth, predicted), n in self.pairs.items() if label in (truth, predicted))
        return both / either if either else math.nan

    def iou(self) -> float:
        both = sum(n for (truth, predicted), n in self.pairs.items() if truth and predicted)
        either = sum(n for (truth, predicted), n in self.pairs.items() if truth or predicted)
        return both / either if either else math.nan

    def miou(self) -> float:
        present = {truth for truth, _ in self.pairs} - {0}
        return sum(map(self.class_iou, present)) / len(present) if present else math.nan

    def miou_all(self) -> float:
        values = [self.class_iou(label) for label in range(1, 17)]
        return sum(value for value in values if not math.isnan(value)) / 16


def assert_same(matrix: ConfusionMatrix, reference: Reference) -> None:
    assert matrix.iou() == pytest.approx(reference.iou(), nan_ok=True)
    assert matrix.miou() == pytest.approx(reference.miou(), nan_ok=True)
    assert matrix.miou_all() == pytest.approx(reference.miou_all())
    expected = [reference.class_iou(label) for label in range(1, 17)]
    np.testing.assert_allclose(matrix.class_iou(), expected)
    assert matrix.counts.sum() == sum(reference.pairs.values())


@given(PREDICTIONS, TRUTHS)
def test_matches_counting_in_a_dictionary(prediction, truth):
    matrix = ConfusionMatrix()
    matrix.add(prediction[:2], truth[:2])
    matrix.add(prediction[2:], truth[2:])
    assert_same(matrix, Reference(zip(truth.ravel(), prediction.ravel())))


@given(PREDICTIONS, TRUTHS, st.integers(0, 23))
def test_what_is_predicted_in_ignored_voxels_does_not_matter(prediction, truth, at):
    truth.ravel()[at] = 255
    other = prediction.copy()
    other.ravel()[at] = 255
    matrices = ConfusionMatrix(), ConfusionMatrix()
    for matrix, labels in zip(matrices, (prediction, other)):
        matrix.add(labels, truth)
    np.testing.assert_array_equal(*(matrix.counts for matrix in matrices))


@given(TRUTHS)
def test_a_perfect_prediction_scores_one(truth):
    matrix = ConfusionMatrix()
    matrix.add(np.where(truth == 255, 0, truth).astype(np.uint8), truth)
    classes = len(set(np.unique(truth)) - {0, 255})
    assert matrix.miou() == pytest.approx(1.0 if classes else math.nan, nan_ok=True)
    assert matrix.miou_all() == pytest.approx(classes / 16)


def test_known_answer():
    truth = np.array([[[1, 1, 2, 0, 255]]], np.uint8)
    prediction = np.array([[[1, 2, 2, 3, 4]]], np.uint8)
    matrix = ConfusionMatrix()
    matrix.add(prediction, truth)
    assert matrix.iou() == 3 / 4
    assert matrix.miou() == (1 / 2 + 1 / 2) / 2, "class 3 is predicted but not there"
    assert matrix.miou_all() == (1 / 2 + 1 / 2 + 0) / 16


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        ConfusionMatrix().add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="labels below 17.*prediction up to 17"):
        ConfusionMatrix().add(np.full((2, 2), 17, np.uint8), np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match=r"over \(512, 512\) columns"):
        RangeBands(GridSpec()).add(np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8))


def test_bands_are_nested_squares_that_tile_the_grid():
    grid = GridSpec((-30.0, -40.0, 0.0), 2.0, (30, 40, 3))
    rng = np.random.default_rng(5)
    truth = rng.choice(np.array([0, 1, 2, 16, 255], np.uint8), grid.size)
    prediction = rng.choice(np.array([0, 1, 2, 16], np.uint8), grid.size)
    bands = RangeBands(grid)
    bands.add(prediction, truth)
    pairs = ([], [], [])
    for index in np.ndindex(*grid.size):
        center = [grid.low[axis] + (index[axis] + 0.5) * grid.voxel_size for axis in (0, 1)]
        distance = max(abs(value) for value in center)
        pairs[0 if distance < 12.8 else 1 if distance < 25.6 else 2].append((truth[index], prediction[index]))
    assert bands.names == ("0-12.8 m", "12.8-25.6 m", "25.6-40 m")
    for matrix, band in zip(bands.matrices, pairs):
        assert_same(matrix, Reference(band))
    assert_same(bands.total(), Reference(sum(pairs, [])))
    assert RangeBands(GridSpec()).names[-1] == "25.6-51.2 m"
