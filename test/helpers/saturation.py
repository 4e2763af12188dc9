"""What processors do that add 8-bit products in 16 bits, emulated so that any processor can test it."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def multiply_add_pairs(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """x86's PMADDUBSW: uint8 times int8, products of neighbors added in 16 bits with saturation.

    It is what AVX2 and AVX-512 calculate INT8 with where they have no VNNI (Intel SDM, volume 2, PMADDUBSW).

    Args:
        activations: (..., 2 n) uint8. weights: (..., 2 n) int8.

    Returns:
        (..., n) int16.
    """
    products = activations.astype(np.int32) * weights
    return np.clip(products[..., ::2] + products[..., 1::2], -32768, 32767).astype(np.int16)


def lost(weights: np.ndarray) -> int:
    """Largest error of a sum of products with the worst activations, in the worst order in memory.

    Args:
        weights: (outputs, n) int8.
    """
    rows = np.sort(np.pad(weights, ((0, 0), (0, weights.shape[1] % 2))), axis=1)  # like signs and sizes become pairs
    worst = 0
    for activations in (rows > 0, rows < 0):
        full = activations.astype(np.uint8) * np.uint8(255)
        error = multiply_add_pairs(full, rows).sum(1, dtype=np.int64) - (full.astype(np.int64) * rows).sum(1)
        worst = max(worst, int(np.abs(error).max()))
    return worst


def quantized_weights(file: Path) -> dict[str, np.ndarray]:
    """Weights (outputs, n) int8 of the convolutions of an INT8 file, by name."""
    graph = onnx.load(file).graph
    makers = {name: node for node in graph.node for name in node.output}
    values = {value.name: value for value in graph.initializer}
    sources = (makers.get(node.input[1]) for node in graph.node if node.op_type == "Conv")
    names = [node.input[0] for node in sources if node is not None and node.op_type == "DequantizeLinear"]
    weights = {name: numpy_helper.to_array(values[name]) for name in names}
    return {name: array.reshape(len(array), -1) for name, array in weights.items()}
