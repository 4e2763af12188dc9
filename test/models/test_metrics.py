"""The confusion matrix against an independent computation with sets of voxels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.metrics import ConfusionMatrix

LABELS = st.sampled_from([0, 1, 2, 16, 255])


@given(arrays(np.uint8, (4, 3, 2), elements=st.sampled_from([0, 1, 2, 16])),
       arrays(np.uint8, (4, 3, 2), elements=LABELS))
def test_matches_set_arithmetic(prediction, truth):
    matrix = ConfusionMatrix()
    matrix.add(prediction[:2], truth[:2])
    matrix.add(prediction[2:], truth[2:])
    known = {i for i in np.ndindex(truth.shape) if truth[i] != 255}
    occupied = ({i for i in known if prediction[i]}, {i for i in known if truth[i]})
    if occupied[0] | occupied[1]:
        assert matrix.iou() == pytest.approx(len(occupied[0] & occupied[1]) / len(occupied[0] | occupied[1]))
    else:
        assert np.isnan(matrix.iou())
    scores = []
    for label in range(1, 17):
        a, b = {i for i in known if prediction[i] == label}, {i for i in known if truth[i] == label}
        if b:
            scores.append(len(a & b) / len(a | b))
    if scores:
        assert matrix.miou() == pytest.approx(np.mean(scores))
    else:
        assert np.isnan(matrix.miou())


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="differ in shape"):
        ConfusionMatrix().add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
