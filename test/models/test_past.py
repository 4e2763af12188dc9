"""Earlier sweeps in training: made, kept, drawn, changed with their frame, and told to a network that has lags."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_model import CONFIG, small_model
from helpers.tiny_nuscenes import TinyRoot
from helpers.tiny_training import SETTINGS, make_frame

from models.train import Trainer, start_from
from models.training.augment import AugmentConfig, augment, draw_past, drift, mapped, transform
from models.training.config import TrainConfig
from models.training.data import PreparedFrame, make_sample
from models.training.manifest import making
from models.training.past import PERIOD_S, past_of_drive
from models.training.prepare import prepare_drive, prepare_root
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.core.past_sweeps import PastSweep, brought_to_present
from occfusion_ros.core.preprocessing import Preprocessing
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.network.checkpoint import load_checkpoint, save_checkpoint
from occfusion_ros.network.occfusion import OccFusion
from occfusion_ros.presample.presampler import PresampleConfig, Presampler
from synthetic import SyntheticDrive, seeds

SEED = seeds.TESTS[5]
LAGS = Preprocessing(lags=True)
AGED = replace(CONFIG, presample=replace(CONFIG.presample, preprocessing=LAGS))
STILL = AugmentConfig(no_past=0, drift_meters=0, drift_degrees=0)


def sweeps(count: int, seed: int = 0) -> tuple[PastSweep, ...]:
    """Earlier sweeps of a vehicle that drives 1 m from one to the next."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(1, count + 1):
        points = rng.uniform((-6, -6, -3, 0), (6, 6, 2, 1), (300, 4)).astype(np.float32)
        found.append(PastSweep(points, drift(np.array([0, -1.0 * number, 0]), 0.01 * number), 0.1 * number))
    return tuple(found)


@pytest.fixture(scope="module")
def with_past() -> PreparedFrame:
    return replace(make_frame(0), past=sweeps(10))


@pytest.fixture(scope="module")
def driven():
    """A drive, a frame of it and the sweeps before that."""
    drive = SyntheticDrive(SEED, image_size=(32, 48))
    frame = drive.frame(8, images=False)
    return drive, frame, past_of_drive(drive, 8, frame, 1.5, np.random.default_rng(0))


def test_what_stands_still_was_where_it_is_and_sweeps_come_as_a_lidar_sends_them(driven):
    drive, frame, past = driven
    lags = [sweep.lag_s for sweep in past]
    assert len(past) == 10 and np.all(np.diff(lags) > 0.8 * PERIOD_S[0]) and lags[-1] < 4
    solid = (frame.semantics > 0) & (frame.semantics < IGNORE)
    solid[:, :, 1:] |= solid[:, :, :-1]  # grass and range noise reach a little higher
    shares = []
    for points in (brought_to_present(past).points, np.concatenate([sweep.points for sweep in past])):
        voxels, inside = GridSpec().indices(points[:, :3])
        shares.append(solid[tuple(voxels[inside].T)].mean())
    assert shares[0] > 0.8 > shares[1] + 0.1
    assert all(np.hypot(*sweep.points[:, :2].T).min() >= 1.5 for sweep in past)


def test_no_sweep_is_older_than_the_drive(driven):
    drive, frame, _ = driven
    past = past_of_drive(drive, 1, frame, 1.5, np.random.default_rng(1))
    assert all(sweep.lag_s <= drive.interval for sweep in past) and len(past) < 10


def test_sweeps_come_back_from_a_file_to_the_centimetre(with_past, tmp_path):
    with_past.save(tmp_path / "frame.npz")
    read = PreparedFrame.load(tmp_path / "frame.npz").past
    assert len(read) == 10
    for one, other in zip(with_past.past, read):
        assert other.points.dtype == np.float32 and one.lag_s == other.lag_s
        assert np.array_equal(one.grid_from_past, other.grid_from_past)
        assert np.allclose(one.points[:, :3], other.points[:, :3], atol=0.00501)
        assert np.allclose(one.points[:, 3], other.points[:, 3], atol=0.002)
    make_frame(0).save(tmp_path / "single.npz")
    assert PreparedFrame.load(tmp_path / "single.npz").past == ()


def test_none_or_a_random_number_of_the_newest_is_drawn_as_often_as_is_wanted():
    past, config, rng = sweeps(10), AugmentConfig(), np.random.default_rng(0)
    drawn = [draw_past(past, config, rng) for _ in range(600)]
    assert 0.33 < np.mean([not one for one in drawn]) < 0.47
    assert {len(one) for one in drawn} == set(range(11))
    steps = {tuple(np.rint(np.diff([s.lag_s for s in one]) * 10).astype(int)) for one in drawn if len(one) > 1}
    assert {1, 2, 3} == {step for chosen in steps for step in chosen} and all(len(set(chosen)) == 1 for chosen in steps)
    assert {round(one[0].lag_s, 1) for one in drawn if one} == {0.1, 0.2, 0.3}
    assert len(draw_past(past[:1], STILL, rng)) == 1 and draw_past((), STILL, rng) == ()


def test_poses_drift_with_their_age():
    config = AugmentConfig(no_past=0, drift_meters=0.1, drift_degrees=1)
    off = {1: [], 10: []}
    for seed in range(300):
        for sweep in draw_past(sweeps(10), config, np.random.default_rng(seed)):
            number = round(sweep.lag_s * 10)
            if number in off:
                wrong = sweep.grid_from_past @ np.linalg.inv(sweeps(10)[number - 1].grid_from_past)
                off[number].append([*wrong[:3, 3], np.degrees(np.arctan2(wrong[1, 0], wrong[0, 0]))])
    near, far = (np.std(values, axis=0) for values in off.values())
    assert np.allclose(near[[2, 3]], [0.01, 0.1], rtol=0.35) and np.allclose(far[[2, 3]], [0.1, 1], rtol=0.35)


@pytest.mark.parametrize("plane", [np.diag([-1.0, 1.0]), 1.05 * np.array([[0.8, -0.6], [0.6, 0.8]])])
def test_earlier_sweeps_are_mirrored_turned_and_stretched_with_the_world(with_past, plane):
    changed = transform(with_past, with_past.grid, plane)
    before, after = brought_to_present(with_past.past), brought_to_present(changed.past)
    assert np.allclose(after.points, mapped(before.points, plane), atol=1e-4) and np.array_equal(
        before.lags, after.lags
    )
    assert np.allclose(changed.past[3].points, mapped(with_past.past[3].points, plane))


def test_all_sweeps_of_a_frame_lose_the_same_beams_and_have_the_same_intensities():
    frame = make_frame(0)
    same = PastSweep(frame.points, drift(np.array([0, -1.0, 0]), 0.0), 0.1)
    config = replace(STILL, thin=0, beams=1, sector=1, no_intensity=0)
    for seed in range(5):
        changed = augment(replace(frame, past=(same,)), frame.grid, config, np.random.default_rng(seed))
        assert 0 < len(changed.points) < len(frame.points)
        assert np.array_equal(changed.points, changed.past[0].points)


def test_only_a_network_with_lags_is_told_of_earlier_sweeps(with_past):
    single = replace(with_past, past=())
    for config, told in ((CONFIG.presample, False), (AGED.presample, True)):
        one, other = (make_sample(frame, Presampler(config)).inputs for frame in (single, with_past))
        assert torch.equal(one.voxel_features, other.voxel_features) != told
        assert torch.equal(one.returns, other.returns)


def test_synthetic_frames_are_prepared_with_earlier_sweeps_where_the_network_has_lags(tmp_path):
    config = PresampleConfig(image_size=(64, 96), preprocessing=LAGS)
    drive, checked = tmp_path / "drive.npz", tmp_path / "validation.npz"
    prepare_drive((SEED, [drive]), config, AugmentConfig(), "nuscenes")
    frame = PreparedFrame.load(drive)
    assert len(frame.past) == 10 and all(5_000 < len(sweep.points) <= 20_000 for sweep in frame.past)
    voxels, inside = frame.grid.indices(brought_to_present(frame.past).points[:, :3])
    at = tuple(np.unique(voxels[inside], axis=0).T)
    told = (frame.observed[at] & (frame.semantics[at] > 0)).mean()
    untold = tmp_path / "untold.npz"
    prepare_drive((SEED, [untold]), replace(config, preprocessing=Preprocessing()), AugmentConfig(), "nuscenes")
    other = PreparedFrame.load(untold)
    assert told > 0.8 > (other.observed[at] & (other.semantics[at] > 0)).mean() + 0.2  # all but vehicles and people
    prepare_drive((SEED, [checked]), config, None, "nuscenes")
    assert len(PreparedFrame.load(checked).past) < 10  # as drawn
    without = making(replace(config, preprocessing=Preprocessing()), None, False)
    assert making(config, None, False) != without and without["past_sweeps"] is None


def test_samples_of_a_data_root_are_prepared_with_the_sweeps_before_them(tmp_path):
    reader = NuScenesReader(TinyRoot(tmp_path / "root").root)
    token = list(reader.samples())[1]
    (tmp_path / "root/occupancy").mkdir()
    lidar = reader.tables.get("sample", token)["data"]["LIDAR_TOP"]
    np.savez_compressed(tmp_path / f"root/occupancy/{lidar}.npz", semantics=np.zeros(GridSpec().size, np.uint8))
    config = PresampleConfig(image_size=(64, 96), preprocessing=LAGS)
    (path,) = prepare_root(tmp_path / "frames", tmp_path / "root", config, AugmentConfig())
    assert [round(sweep.lag_s, 3) for sweep in PreparedFrame.load(path).past] == [0.05, 0.1]


def test_a_network_of_single_sweeps_becomes_one_with_lags_that_answers_them_as_before(tmp_path, with_past):
    before, after = small_model(), OccFusion(AGED).eval()
    save_checkpoint(tmp_path / "weights.safetensors", before, {"trained_on": "single sweeps"})
    assert start_from(after, tmp_path / "weights.safetensors") == "single sweeps"
    one, other = (make_sample(with_past, Presampler(c.presample)).inputs.voxel_features for c in (CONFIG, AGED))
    alone = make_sample(replace(with_past, past=()), Presampler(AGED.presample)).inputs.voxel_features
    assert torch.allclose(before.voxel_encoder(one), after.voxel_encoder(alone), atol=1e-6)
    assert not torch.allclose(before.voxel_encoder(one), after.voxel_encoder(other), atol=1e-2)


def test_a_network_with_lags_is_trained_and_says_so(tmp_path):
    (tmp_path / "frames").mkdir()
    for seed in range(2):
        replace(make_frame(seed), past=sweeps(4, seed)).save(tmp_path / f"frames/{seed}.npz")
    paths = sorted((tmp_path / "frames").glob("*.npz"))
    Trainer(TrainConfig(**SETTINGS, steps=2), paths, tmp_path, AGED).run()
    model, metadata = load_checkpoint(tmp_path / "weights.safetensors")
    assert model.config.presample.preprocessing.lags and "with up to 10 earlier sweeps" in metadata["trained_on"]
