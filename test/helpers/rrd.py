"""Recordings of Rerun, read by its own reader."""

from pathlib import Path
from typing import Any

import numpy as np

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES


def rows(file: Path) -> dict[str, dict[str, list[tuple[int, Any]]]]:
    """By entity and component, stamp in nanoseconds (-1: for all times) and value of each row; of the one recording."""
    from rerun.chunk import RrdReader

    reader, found = RrdReader(file), {}
    (recording,) = reader.recordings()
    assert reader.blueprints(), "the windows are laid out"
    for chunk in reader.stream(store=recording):
        batch = chunk.to_record_batch()
        stamps = [stamp.value for stamp in batch["stamp"]] if "stamp" in batch.schema.names else [-1] * len(batch)
        for name in batch.schema.names:
            column = found.setdefault(chunk.entity_path, {}).setdefault(name, [])
            column += zip(stamps, batch[name])
    return found


def numbers(value: Any) -> np.ndarray:
    """The numbers of a row, whatever they are nested in."""
    values = value.values
    while values.type.num_fields:
        values = values.flatten()
    return values.to_numpy(zero_copy_only=False)


def labels_at(recording: dict, stamp: int, spec: GridSpec) -> np.ndarray:
    """(X, Y, Z) uint8 labels of the voxels that were written for a stamp; each in its class's color, at its place."""
    found = np.zeros(spec.size, np.uint8)
    for one in OPENOCCUPANCY_CLASSES:
        entity = recording[f"/grid/voxels/{one.name}"]
        row = {name.split(":")[-1]: dict(column)[stamp] for name, column in entity.items() if ":" in name}
        indices = numbers(row["voxel_indices"]).reshape(-1, 3)
        assert not found[tuple(indices.T)].any()
        found[tuple(indices.T)] = one.label
        red, green, blue = one.rgb
        colors = numbers(row["colors"])
        assert len(colors) == len(indices) and (colors == (red << 24 | green << 16 | blue << 8 | 255)).all()
        assert np.allclose(numbers(row["translation"]), spec.low)
        assert np.allclose(numbers(row["voxel_size"]), spec.voxel_size)
    return found
