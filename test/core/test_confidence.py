"""What a byte means where nothing was measured."""

import numpy as np
import pytest

from occfusion_ros.core.confidence import OCCUPIED, STEPS, Calibration, Confidence, as_bytes, class_entropy, first_byte
from occfusion_ros.core.errors import ContractError


def test_log_odds_are_counted_in_steps_about_the_threshold():
    occupancy = np.array(Calibration().occupancy)
    log_odds = np.log(occupancy / (1 - occupancy))
    np.testing.assert_allclose(log_odds, (np.arange(256) - OCCUPIED + 0.5) / STEPS)
    assert occupancy[OCCUPIED - 1] < 0.5 < occupancy[OCCUPIED]


def test_a_byte_of_a_class_is_a_share():
    np.testing.assert_allclose(Calibration().classes, np.arange(0.5, 256) / 256)


def test_probabilities_become_bytes():
    assert as_bytes((0.0, 0.5, 1.0)).tolist() == [0, 128, 255]


def test_the_two_networks_are_told_apart_and_compare_by_value():
    one = Confidence(refiner=Calibration(classes=[0] * 256))
    assert one == Confidence(Calibration(), Calibration(classes=(0.0,) * 256)) != Confidence()


@pytest.mark.parametrize("values", [None, 0.5, "x" * 256, [True] * 256, [0.2] * 257])
def test_what_is_no_table_is_refused(values):
    with pytest.raises(ContractError, match="expected 256 numbers of occupancy"):
        Calibration(occupancy=values)


@pytest.mark.parametrize("least, byte", [(0.0, 0), (0.1, 1), (0.25, 2), (0.5, 3), (0.51, 256), (1.0, 256)])
def test_the_first_byte_of_a_probability(least, byte):
    assert first_byte((0.0, 0.1, 0.3) + 253 * (0.5,), least) == byte


def test_entropy_is_that_of_a_best_class_and_three_others():
    confidence = np.array([[255, 0, 51], [153, 128, 64]], np.uint8)
    entropy = class_entropy(confidence)
    assert entropy.dtype == np.float32 and entropy[0, :2].tolist() == [0, 0]
    for byte, got in zip(confidence.flat, entropy.flat):
        shares = np.array([byte, *3 * [(255 - byte) / 3]]) / 255
        if 0 < byte < 255:
            assert got == pytest.approx(-(shares * np.log(shares)).sum(), abs=1e-5)
    assert (np.diff(class_entropy(np.arange(64, 256, dtype=np.uint8))) < 0).all(), "the surer, the less"
