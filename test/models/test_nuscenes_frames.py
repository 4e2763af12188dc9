"""Earlier sweeps of recorded frames, on a data root whose places are known by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers.tiny_nuscenes import SCENE, TinyRoot, landmark_in_lidar

from models.evaluation.nuscenes_frames import NuScenesFrames, split_last
from occfusion_ros.core.errors import ContractError
from occfusion_ros.core.preprocessing import Preprocessing
from occfusion_ros.datasets.nuscenes import NuScenesReader


@pytest.mark.parametrize("share,held", [(0, ""), (0.3, "ij"), (0.5, "hij"), (1, "efghij")])
def test_a_scene_is_split_before_its_last_share(share, held):
    first, last = split_last("efghij", share)
    assert first + last == list("efghij") and last == list(held)


@pytest.fixture
def tiny(tmp_path) -> TinyRoot:
    return TinyRoot(tmp_path / "root", samples=3)


def test_what_stands_still_lies_where_the_present_sweep_has_it_and_lags_are_those_of_the_stamps(tiny):
    reader = NuScenesReader(tiny.root)
    last = list(reader.samples())[-1]
    frames = NuScenesFrames(reader, past_sweeps=10, ego_radius=0.5)
    sweeps = frames.past(SCENE, last)
    assert [round(sweep.lag_s, 6) for sweep in sweeps] == [0.1, 0.15, 0.2]  # one lies between the key frames
    frame = frames.frame(SCENE, last)
    stamp = reader.lidar_record(last).stamp_ns // 1000
    assert np.allclose(frame.points[0, :3], landmark_in_lidar(stamp), atol=1e-5)
    for lag in (0.1, 0.15, 0.2):
        points = frame.past.points[np.isclose(frame.past.lags, lag)]
        assert np.allclose(points[0, :3], landmark_in_lidar(stamp), atol=1e-4)
        moved = 10 * lag  # metres that the vehicle has driven since
        assert np.allclose(points[1:, :2], [[x, 5 - moved] for x in (-3, -1, 1, 3)], atol=1e-4)
    assert np.isclose(frame.past.points[0, 3], 51 / 255)


def test_as_many_come_as_are_asked_for_and_only_those_whose_files_are_there(tiny):
    reader = NuScenesReader(tiny.root)
    first, _, last = reader.samples()
    assert [s.lag_s for s in NuScenesFrames(reader, 2).past(SCENE, last)] == pytest.approx([0.1, 0.15])
    assert not NuScenesFrames(reader, 10).past(SCENE, first)
    assert not len(NuScenesFrames(reader).frame(SCENE, last).past.points)
    (between,) = (record for record in reader.records(SCENE, sweeps=True) if "sweeps" in str(record.path))
    between.path.unlink()
    assert [s.lag_s for s in NuScenesFrames(reader, 2).past(SCENE, last)] == pytest.approx([0.1, 0.2])


def test_the_vehicle_is_left_out_as_the_model_has_it(tiny):
    contract = SimpleNamespace(model_id="m", preprocessing=Preprocessing(ego_radius=5.5, lags=True))
    reader = NuScenesReader(tiny.root)
    (first, second, _) = reader.samples()
    (near,) = {len(s.points) for s in NuScenesFrames.for_model(reader, contract, 1).past(SCENE, second)}
    assert near == 3  # the landmark and the outer points of the road, at more than 5.8 m


def test_a_model_without_lags_is_told_of_none(tiny):
    contract = SimpleNamespace(model_id="m", preprocessing=Preprocessing())
    assert NuScenesFrames.for_model(NuScenesReader(tiny.root), contract, 0).past_sweeps == 0
    with pytest.raises(ContractError, match="expected a model with lags, got m"):
        NuScenesFrames.for_model(NuScenesReader(tiny.root), contract, 1)


def test_another_vehicle_has_its_earlier_sweeps_in_the_grid_frame_too(tiny):
    for row in tiny.tables["calibrated_sensor"]:
        if row["sensor_token"] == "LIDAR_TOP":  # as DDAD's, in the vehicle's own frame
            row.update(translation=[0.0, 0.0, 0.0], rotation=[1.0, 0, 0, 0])
    tiny.save()
    reader = NuScenesReader(tiny.root)
    (_, second, _) = reader.samples()
    frames = NuScenesFrames(reader, 1, ego_radius=0)
    frame, (sweep,) = frames.frame(SCENE, second), frames.past(SCENE, second)
    assert frame.frame_id == "grid" and np.isclose(sweep.lag_s, 0.05)
    moved = np.float32([0, 10 * sweep.lag_s, 0, 0])  # forward is y in the grid
    assert np.allclose(frame.past.points[1:], frame.points[1:] - moved, atol=1e-5)
