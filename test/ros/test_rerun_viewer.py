"""What is written for Rerun, read by Rerun's own reader and compared with what was published."""

import re
import socket
import urllib.request

import numpy as np
import pytest
from helpers.answering_node import CAMERA_AT, CYAN, FOCAL, STAMP, SWEEP, Source, jpeg
from helpers.rrd import labels_at, numbers, rows

from occfusion_ros.ros.viewers import command, rerun_viewer

pytest.importorskip("rerun", reason="Rerun is not installed: pip install rerun-sdk")


@pytest.fixture(scope="module")
def published(tmp_path_factory, ros_domain):
    """What a node published, and what Rerun reads from the file that the command wrote of two answers."""
    file = tmp_path_factory.mktemp("rerun") / "new" / "drive.rrd"
    source = Source(sensors=True)
    try:
        assert rerun_viewer.main(["--save", str(file), "--count", "2", "--timeout", "60"]) == 0
    finally:
        source.close()
    return source, rows(file)


def last(recording, entity: str, component: str) -> np.ndarray:
    """The numbers of a component's last row."""
    return numbers(recording[entity][component][-1][1])


def test_each_voxel_is_there_with_its_place_class_and_color(published):
    source, recording = published
    labels = source.grid.labels
    assert (labels_at(recording, STAMP, source.grid.spec) == np.where(labels == 255, 0, labels)).all()


def test_unknown_space_and_the_sweep_are_there(published):
    source, recording = published
    hull = last(recording, "/grid/unknown", "Points3D:positions").reshape(-1, 3)
    low, edge = source.grid.spec.low, source.grid.spec.voxel_size
    voxels = np.floor((hull - low) / edge).astype(int)
    assert len(hull) and (source.grid.labels[tuple(voxels.T)] == 255).all()
    assert np.allclose(last(recording, "/grid/sweep", "Points3D:positions").reshape(-1, 3), SWEEP[:, :3])


def test_the_image_is_there_as_it_came_and_the_voxels_lie_on_it(published):
    source, recording = published
    assert last(recording, "/grid/cameras/cam_a/image", "EncodedImage:blob").tobytes() == jpeg(CYAN)
    pixels = last(recording, "/grid/cameras/cam_a/voxels", "Points2D:positions").reshape(-1, 2)
    x, y, z = (source.grid.spec.centers(np.argwhere(source.grid.labels == 4)) - CAMERA_AT).T
    expected = np.stack([FOCAL * x / y + 160.5, 90.5 - FOCAL * z / y], axis=1)
    assert len(pixels) > 50
    assert all(np.abs(expected - pixel).max(axis=1).min() < 1e-3 for pixel in pixels)
    assert np.allclose(last(recording, "/grid/cameras/cam_a", "Transform3D:translation"), CAMERA_AT)


def test_counts_times_and_states_are_there(published):
    source, recording = published
    assert last(recording, "/counts/car", "Scalars:scalars")[0] == np.count_nonzero(source.grid.labels == 4)
    assert last(recording, "/counts/remembered", "Scalars:scalars")[0] == len(source.grid.remembered) > 0
    assert last(recording, "/times_ms/fuser", "Scalars:scalars")[0] == 12.5
    states = [text.as_py() for _, text in recording["/diagnostics"]["TextLog:text"]]
    assert states == [["occfusion: inputs: slow"]], "the node's alone, and once until it changes"


def test_where_a_package_is_missing_it_is_one_sentence(monkeypatch, capsys):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(command.importlib, "import_module", missing)
    assert rerun_viewer.main(["--save", "never.rrd"]) == 1
    assert capsys.readouterr().err == ("error: rerun-sdk is needed (No module named 'rerun'): pip install rerun-sdk\n")


def test_a_page_for_browsers_is_served(capsys):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with rerun_viewer.open_rerun(serve=port):
        address, data = re.search(r"open (http://localhost:(?:\d+)/)\?url=(\S+) in", capsys.readouterr().out).groups()
        assert data == f"rerun%2Bhttp://127.0.0.1:{port + 1}/proxy"
        with urllib.request.urlopen(address, timeout=30) as page:
            assert b"re_viewer" in page.read()
        socket.create_connection(("127.0.0.1", port + 1), timeout=30).close()


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert rerun_viewer.main(["--save", str(tmp_path / "file" / "drive.rrd")]) == 1
    assert capsys.readouterr().err.startswith("error: Rerun cannot be opened: ")
