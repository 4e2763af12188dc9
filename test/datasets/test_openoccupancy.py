"""OpenOccupancy's label files, byte for byte as that project's loader reads them."""

from pathlib import Path

import numpy as np
import pytest

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.datasets.openoccupancy import read_rows, row_file, write_rows

SIZE = (512, 512, 40)


def _save(path: Path, rows) -> Path:
    np.save(path, np.array(rows))
    return path


def test_path_is_the_one_of_the_benchmark():
    assert row_file(Path("data"), "abc", "def") == Path("data/scene_abc/occupancy/def.npy")


def test_labels_come_back_as_they_were_written(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.zeros(SIZE, np.uint8)
    labels[tuple(rng.integers(0, SIZE, (100_000, 3)).T)] = rng.choice([*range(1, 17), 255], 100_000)
    path = tmp_path / "new/rows.npy"
    write_rows(path, labels)
    np.testing.assert_array_equal(read_rows(path), labels)
    rows = np.load(path, allow_pickle=False)
    assert rows.dtype == np.int16 and rows.shape == (np.count_nonzero(labels), 4)
    assert [file.name for file in path.parent.iterdir()] == ["rows.npy"], "no partial file is left"


@pytest.mark.parametrize(
    ("point", "row", "center"),
    [
        ((-51.2, -51.2, -5.0), (0, 0, 0), (-51.1, -51.1, -4.9)),
        ((-51.0001, 51.1999, 2.9999), (39, 511, 0), (-51.1, 51.1, 2.9)),
        ((0.0001, -0.0001, -1.84), (15, 255, 256), (0.1, -0.1, -1.9)),
        ((10.25, 20.05, -0.95), (20, 356, 307), (10.3, 20.1, -0.9)),
    ],
)
def test_a_point_has_the_row_whose_center_is_half_a_voxel_from_the_voxels_corner(tmp_path, point, row, center):
    grid = GridSpec()
    (index,), (inside,) = grid.indices(np.array([point]))
    assert inside
    labels = np.zeros(SIZE, np.uint8)
    labels[tuple(index)] = 8
    write_rows(tmp_path / "rows.npy", labels)
    (written,) = np.load(tmp_path / "rows.npy", allow_pickle=False).tolist()
    assert written == [*row, 8], "z, y, x, class"
    z, y, x, _ = written
    world = (np.array([x, y, z]) + 0.5) * 0.2 + [-51.2, -51.2, -5.0]  # the benchmark's own formula
    np.testing.assert_allclose(world, center)
    np.testing.assert_allclose(grid.centers(index), center)
    assert np.abs(world - point).max() <= 0.1 + 1e-9


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.uint16, np.float32, np.float64])
def test_both_widths_of_rows_and_noise(tmp_path, dtype):
    short = np.array([[39, 511, 0, 16], [1, 2, 3, 0], [4, 5, 6, 11]], dtype)
    speed = np.array([[3, -1, 0], [np.nan, 0, 0], [0, 0, 2]])
    wide = np.concatenate(
        [short[:, :3], speed if dtype in (np.float32, np.float64) else 0 * short[:, :3], short[:, 3:]], axis=1
    ).astype(dtype)
    for rows in (short, wide):
        labels = read_rows(_save(tmp_path / "rows.npy", rows))
        assert labels.shape == SIZE and labels.dtype == np.uint8
        assert np.argwhere(labels).tolist() == [[0, 511, 39], [3, 2, 1], [6, 5, 4]]
        assert labels[0, 511, 39] == 16 and labels[3, 2, 1] == 255 and labels[6, 5, 4] == 11


def test_a_voxel_with_several_rows_gets_its_most_frequent_label(tmp_path):
    rows = [[1, 2, 3, 11], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 11], [1, 2, 3, 4], [7, 7, 7, 9], [7, 7, 7, 5]]
    labels = read_rows(_save(tmp_path / "rows.npy", rows))
    assert labels[3, 2, 1] == 4 and labels[7, 7, 7] == 5 and np.count_nonzero(labels) == 2


@pytest.mark.parametrize(
    "row",
    [[40, 0, 0, 1], [0, 512, 0, 1], [0, 0, -1, 1], [0, 0, 0, 17], [0, 0, 0, -1], [0.5, 0, 0, 1], [np.nan, 0, 0, 1]],
)
def test_rows_that_are_no_voxels_are_refused(tmp_path, row):
    with pytest.raises(DatasetError, match="whole indices below"):
        read_rows(_save(tmp_path / "rows.npy", [[0, 0, 0, 1], row]))


@pytest.mark.parametrize("rows", [np.zeros((3, 5), int), np.zeros(4, int), np.array([["a", "b", "c", "d"]])])
def test_other_tables_are_refused(tmp_path, rows):
    with pytest.raises(DatasetError, match="rows of 4 or 7 numbers"):
        read_rows(_save(tmp_path / "rows.npy", rows))


def test_damaged_and_pickled_files_are_refused(tmp_path):
    path = _save(tmp_path / "rows.npy", np.zeros((30, 4), int))
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DatasetError, match="cannot read"):
        read_rows(path)
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DatasetError, match="cannot read"):
        read_rows(path)


def test_labels_that_the_format_cannot_hold_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"expected uint8 \(512, 512, 40\), got int64 \(2, 2\)"):
        write_rows(tmp_path / "rows.npy", np.zeros((2, 2), int))
    labels = np.zeros(SIZE, np.uint8)
    labels[0, 0, 0] = 17
    with pytest.raises(DatasetError, match="classes below 17 or 255"):
        write_rows(tmp_path / "rows.npy", labels)
    assert not list(tmp_path.iterdir())
