"""The shipped INT8 files give the same sums on every instruction set."""

import numpy as np
import pytest
from helpers.saturation import lost, multiply_add_pairs, quantized_weights

from export.quantize import FILES
from occfusion_ros.core.shipped import shipped


@pytest.fixture(scope="module", params=FILES.values())
def weights(request) -> dict[str, np.ndarray]:
    return quantized_weights(shipped("models/nano", "models/zoo/nano") / request.param)


def test_the_emulated_instruction_saturates():
    activations, weights = np.array([255, 255, 255, 0], np.uint8), np.array([127, 127, -128, 127], np.int8)
    assert multiply_add_pairs(activations, weights).tolist() == [32767, -32640]  # not 64770
    assert lost(np.array([[127, 3, 127]], np.int8)) == 2 * 255 * 127 - 32767


def test_no_sum_of_a_shipped_file_saturates(weights):
    assert len(weights) > 20 and all(array.dtype == np.int8 for array in weights.values())
    assert {name: error for name, array in weights.items() if (error := lost(array))} == {}


def test_weights_of_eight_bits_would_saturate(weights):
    eight = {name: np.clip(array.astype(int) * 2, -127, 127).astype(np.int8) for name, array in weights.items()}
    assert all(lost(array) for array in eight.values())
