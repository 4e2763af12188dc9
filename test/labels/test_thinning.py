"""Of the sweeps of some time one is labeled, as it would be if all were."""

import json
from pathlib import Path

import pytest
from helpers.labeling import label, null_arguments, sweeps, tiny_bag
from helpers.tiny_nuscenes import START_US, SWEEP_US

from occfusion_ros.labels.plan import Settings, recordings, slices
from occfusion_ros.ros.node.parameters import NodeParameters

# Four sweeps, at 0, 0.05, 0.1 and 0.2 s from .123456: of each tenth of a second the first three are the first, the
# last and the first. Slices of 0.05 s part the first two.
STAMPS_US = [START_US + at * SWEEP_US for at in (0, 1, 2, 4)]
KEPT_US = [STAMPS_US[0], *STAMPS_US[2:]]


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    return tiny_bag(tmp_path_factory.mktemp("bags"), samples=3)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory) -> list[str]:
    return null_arguments(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def thinned(bag, arguments, tmp_path_factory) -> dict[str, bytes]:
    """One sweep of each tenth of a second, labeled in this process."""
    return label(bag, tmp_path_factory.mktemp("labels") / "out", *arguments, "--workers", "0", "--every-s", "0.1")


def occupancy(written: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in written.items() if name.startswith("occupancy/")}


def test_the_first_sweep_of_each_time_has_labels_wherever_slices_end(bag, arguments, thinned, tmp_path):
    assert [sweep["stamp_ns"] // 1000 for sweep in sweeps(thinned)] == KEPT_US
    summary = json.loads(thinned["summary.json"])
    assert summary["sweeps"] == 3 and summary["dropped"] == 0
    assert summary["faults"]["left out by --every-s"] == 1
    assert json.loads(thinned["manifest.json"])["every_s"] == 0.1
    words = [*arguments, "--workers", "0", "--every-s", "0.1", "--slice-s", "20"]
    whole = label(bag, tmp_path / "out", *words)
    assert occupancy(whole) == occupancy(thinned) and len(occupancy(whole)) == 3
    assert whole["v1.0-labels/sample.json"] == thinned["v1.0-labels/sample.json"]


def test_what_is_labeled_is_labeled_as_if_all_were(bag, arguments, tmp_path):
    memory = ["-p", "memory:=short", "--hindsight"]
    words = [*arguments, *memory, "--workers", "0", "--formats", "npz", "--slice-s", "0.12"]
    every = occupancy(label(bag, tmp_path / "all", *words))
    some = occupancy(label(bag, tmp_path / "some", *words, "--every-s", "0.1"))
    assert len(every) == 4 and len(some) == 3 and some.items() <= every.items()


def test_a_ray_cluster_writes_the_same_bytes(bag, arguments, thinned, tmp_path):
    pytest.importorskip("ray", reason="pip install 'occfusion_ros[ray]'")
    words = ["--ray", "local", "--threads", "1", "--every-s", "0.1"]
    assert label(bag, tmp_path / "out", *arguments, *words) == thinned


def test_what_was_thinned_otherwise_is_not_done(bag):
    (recording,), cameras = recordings([str(bag)]), ("cam_front", "cam_back")
    made = [
        slices(recording, Settings(NodeParameters(cameras=cameras), every_s=every_s), 20.0, b"", (0, 1))[0]
        for every_s in (0.0, 0.1, 0.2)
    ]
    assert len({part.fingerprint for part in made}) == 3 and len({part.name for part in made}) == 1
