"""MCAP files with Foxglove's schemas, read by MCAP's own reader."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from occfusion_ros.core.grid import GridSpec


def read(file: Path) -> dict[str, list[tuple[int, str, Any]]]:
    """By topic the stamp, schema and content of each message."""
    from mcap.reader import make_reader
    from mcap_protobuf.decoder import DecoderFactory

    found = {}
    with open(file, "rb") as stream:
        for schema, channel, message in make_reader(stream).iter_messages():
            decode = DecoderFactory().decoder_for(channel.message_encoding, schema) or json.loads
            content = decode(message.data)
            found.setdefault(channel.topic, []).append((message.log_time, schema.name, content))
    return found


def packed(message, rows: int, row_bytes: int, stride: int) -> dict[str, np.ndarray]:
    """Fields of packed elements, (rows, columns) each, as a reader takes them by offset, type and stride."""
    kinds = {1: "u1", 7: "<f4"}
    dtype = np.dtype(
        {
            "names": [field.name for field in message.fields],
            "formats": [kinds[field.type] for field in message.fields],
            "offsets": [field.offset for field in message.fields],
            "itemsize": stride,
        }
    )
    columns = row_bytes // stride
    elements = np.ndarray((rows, columns), dtype, message.data, strides=(row_bytes, stride))
    return {name: elements[name] for name in dtype.names}


def voxel_grid(message) -> tuple[GridSpec, np.ndarray, np.ndarray]:
    """Grid, (X, Y, Z) labels and (X, Y, Z, 4) colors: strides are bytes, and the depth follows from the data."""
    assert message.row_stride == message.column_count * message.cell_stride
    assert message.slice_stride == message.row_count * message.row_stride
    depth = len(message.data) // message.slice_stride
    size, low = (message.column_count, message.row_count, depth), message.pose.position
    assert depth * message.slice_stride == len(message.data) and message.pose.orientation.w == 1
    assert message.cell_size.x == message.cell_size.y == message.cell_size.z
    fields = packed(message, depth * message.row_count, message.row_stride, message.cell_stride)
    arrays = {name: values.reshape(size[::-1]).transpose(2, 1, 0) for name, values in fields.items()}
    colors = np.stack([arrays[name] for name in ("red", "green", "blue", "alpha")], axis=-1)
    return GridSpec((low.x, low.y, low.z), message.cell_size.x, size), arrays["label"], colors
