from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_model import CONFIG, small_model

from export.parity import eager_pipeline
from occfusion_ros.core.confidence import Calibration, Confidence
from occfusion_ros.core.errors import BackendError, InvalidFrameError
from occfusion_ros.core.frames import CameraImage, ImageMask, PastPoints, SensorFrame
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.runtime.artifact import load_artifact
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline, Stopwatch

STAGES = ["presample", "images", "upload", "fuser", "select", "refiner", "grid", "total"]


@pytest.fixture(scope="module")
def pipeline(small_artifact) -> Pipeline:
    return Pipeline.load(small_artifact, "onnxruntime", settings=BackendSettings(threads=1))


@pytest.fixture
def frame() -> SensorFrame:
    rng = np.random.default_rng(0)
    points = np.c_[rng.uniform(-6, 6, (4000, 2)), rng.normal(-1.8, 0.1, 4000), rng.uniform(0, 1, 4000)]
    axes = np.eye(4)
    axes[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    intrinsics = np.array([[100.0, 0, 75], [0, 100, 50], [0, 0, 1]])
    camera = CameraImage("front", rng.integers(0, 256, (100, 150, 3), dtype=np.uint8), intrinsics, axes)
    return SensorFrame(7, points.astype(np.float32), (camera,), frame_id="lidar")


def test_a_frame_becomes_a_grid(pipeline, frame):
    grid = pipeline(frame)
    assert grid.labels.shape == (64, 64, 40) and grid.spec == pipeline.contract.grid
    assert (grid.stamp_ns, grid.frame_id, grid.cameras, grid.model_id) == (7, "lidar", ("front",), "small")
    assert len(np.unique(grid.labels)) > 3 and grid.labels.max() <= 16
    assert list(grid.stage_ms) == STAGES
    assert sum(grid.stage_ms[s] for s in STAGES[:-1]) == pytest.approx(grid.stage_ms["total"])


@pytest.mark.parametrize("refine", ["none", "active", "all"])
def test_voxels_with_a_return_are_never_empty(pipeline, frame, refine, monkeypatch):
    monkeypatch.setattr(pipeline, "refine", refine)
    labels = pipeline(frame).labels
    far = frame.points[np.hypot(*frame.points[:, :2].T) > 1.6]
    index, inside = pipeline.contract.grid.indices(far[:, :3])
    assert (labels[tuple(index[inside].T)] > 0).all()


def test_refinement_changes_the_selected_voxels_only(pipeline, frame, monkeypatch):
    answers = {}
    for refine in ("none", "active"):
        monkeypatch.setattr(pipeline, "refine", refine)
        answers[refine] = pipeline(frame).labels
    changed = np.argwhere(answers["none"] != answers["active"]) // 4
    assert 0 < len(np.unique(changed, axis=0)) <= pipeline.contract.refine_budget


def test_the_order_of_the_points_does_not_matter(pipeline, frame):
    shuffled = replace(frame, points=np.random.default_rng(1).permutation(frame.points))
    assert np.array_equal(pipeline(frame).labels, pipeline(shuffled).labels)


def test_cameras_matter_and_may_be_missing(pipeline, frame):
    assert not np.array_equal(pipeline(frame).labels, pipeline(replace(frame, cameras=())).labels)


@pytest.mark.parametrize("refine", ["active", "all"])
def test_what_is_hidden_in_an_image_does_not_matter(pipeline, frame, refine, monkeypatch):
    monkeypatch.setattr(pipeline, "refine", refine)
    camera = frame.cameras[0]
    others = [replace(camera, image=image) for image in (np.zeros_like(camera.image), np.full_like(camera.image, 255))]
    one, other = (pipeline(replace(frame, cameras=(each,))).labels for each in others)
    assert not np.array_equal(one, other)
    hidden = ImageMask(np.ones((10, 15), bool))
    one, other = (pipeline(replace(frame, cameras=(replace(each, mask=hidden),))).labels for each in others)
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "points",
    [
        np.full((3, 4), np.nan),
        np.zeros((500, 4)),
        [[1e30, 0, 0, 0]],
        [[0, 51.3, 0, 0], [0, 0, 99, 0]],
        [[0.3, -1, 0, 1]],
    ],
    ids=["not finite", "zeros", "far away", "outside", "the vehicle itself"],
)
def test_a_sweep_without_one_usable_return_is_refused(pipeline, frame, points):
    points = np.array(points, np.float32)
    with pytest.raises(InvalidFrameError, match=f"got none among {len(points)} points"):
        pipeline(replace(frame, points=points))
    assert pipeline(replace(frame, points=np.vstack([points, np.float32([[2, 2, 0, 0]])]))).labels.any()


def test_without_a_sweep_it_warms_up_and_unusable_points_change_nothing(pipeline, frame):
    pipeline(replace(frame, points=np.zeros((0, 4), np.float32)))
    clean = pipeline(frame).labels
    bad = np.full((3, 4), np.nan, np.float32)
    bad[0, :3], bad[1] = 1e30, np.inf
    assert np.array_equal(pipeline(replace(frame, points=np.vstack([frame.points, bad]))).labels, clean)


def test_too_many_cameras_are_refused(pipeline, frame):
    cameras = tuple(replace(frame.cameras[0], name=f"c{i}") for i in range(7))
    with pytest.raises(InvalidFrameError, match="at most 6 cameras, got 7"):
        pipeline(replace(frame, cameras=cameras))


class Answer:
    """A backend that always says the same."""

    name, device = "answer", torch.device("cpu")

    def __init__(self, **outputs: torch.Tensor) -> None:
        self.outputs, self.asked = outputs, []

    def run(self, inputs):
        self.asked.append(inputs)
        rows = len(inputs.get("parent", ()))
        return {name: tensor[:rows] if rows else tensor for name, tensor in self.outputs.items()}


def test_a_model_with_lags_is_told_of_earlier_sweeps_and_the_others_are_not(small_artifact, frame):
    past = PastPoints(frame.points + np.float32([0.7, -1.3, 0.2, 0]), np.full(len(frame.points), 0.3, np.float32))
    later, contract = replace(frame, past=past), load_artifact(small_artifact).contract
    for lags in (False, True):
        preprocessing = replace(contract.preprocessing, lags=lags)
        config = replace(CONFIG, presample=replace(CONFIG.presample, preprocessing=preprocessing))
        inputs = {tensor.name: tensor for tensor in contract.fuser.inputs}
        shape = config.presample.fusion_queries, config.presample.num_features
        inputs["voxel_features"] = replace(inputs["voxel_features"], shape=shape)
        fuser = replace(contract.fuser, inputs=tuple(inputs.values()))
        told = eager_pipeline(small_model(config), replace(contract, preprocessing=preprocessing, fuser=fuser))
        assert np.array_equal(told(frame).labels, told(later).labels) != lags


@pytest.fixture
def scripted(small_artifact):
    """A pipeline whose fuser says: class 4, all empty but one child of voxel (2, 3, 1); whose refiner says 0..63.

    Their confidences: 100 of a class and 191 of a child; 50 to 113 of a class and 137 of a child.
    """
    contract = load_artifact(small_artifact).contract
    total = contract.coarse_grid.num_voxels
    occupancy = torch.zeros((total, 64), dtype=torch.uint8)
    occupancy[(2 * 16 + 3) * 10 + 1, 17] = 191
    fuser = Answer(
        occupancy=occupancy,
        semantic_confidence=torch.full((total,), 100, dtype=torch.uint8),
        uncertainty=torch.arange(total).float(),
        semantic=torch.full((total,), 4, dtype=torch.uint8),
        grid_features=torch.zeros((1, total, 24)),
        image_map=torch.zeros((1, 16, 8, 12)),
    )
    each = torch.arange(64, dtype=torch.uint8).expand(total, 64)
    refiner = Answer(labels=each, occupancy=torch.where(each > 0, 137, 20).byte(), class_confidence=each + 50)
    return Pipeline(replace(contract, refine_budget=1), fuser, refiner)


def test_refined_children_land_in_their_voxels(scripted):
    labels = scripted(SensorFrame(0, np.zeros((0, 4), np.float32))).labels
    expected = np.zeros_like(labels)
    expected[8:12, 12:16, 4:8] = np.arange(64).reshape(4, 4, 4)
    assert np.array_equal(labels, expected)


def test_a_return_takes_the_class_of_its_voxel_where_nothing_was_predicted(scripted):
    low, size = np.array(scripted.contract.grid.low), scripted.contract.grid.voxel_size
    inside = [[8, 12, 4], [8, 12, 5], [50, 60, 30]]  # child 0 and 1 of the refined voxel, one voxel elsewhere
    points = np.c_[low + (np.array(inside) + 0.5) * size, np.zeros(3)].astype(np.float32)
    labels = scripted(SensorFrame(0, points)).labels
    assert (labels[8, 12, 4], labels[8, 12, 5], labels[50, 60, 30]) == (4, 1, 4)
    assert np.count_nonzero(labels) == 64 + 1
    assert scripted.refiner.asked[-1]["child_return"].nonzero().tolist() == [[0, 0], [0, 1]]


TABLES = Confidence(
    Calibration(tuple((np.arange(256) / 255).tolist()), tuple((np.arange(256) / 510).tolist())),
    Calibration(tuple((np.arange(256) ** 2 / 255**2).tolist()), tuple((np.arange(256) / 255).tolist())),
)
"""The fuser's bytes are probabilities, those of its classes half of them; the refiner's are squared, as they are."""


@pytest.fixture
def measured(scripted):
    """`scripted` with a contract that says what bytes mean."""
    return Pipeline(replace(scripted.contract, confidence=TABLES), scripted.fuser, scripted.refiner)


def test_confidence_is_that_of_the_network_that_gave_the_label(measured):
    low, size = np.array(measured.contract.grid.low), measured.contract.grid.voxel_size
    inside = np.array([[8, 12, 4], [50, 60, 30]])  # child 0 of the refined voxel, which is empty; one voxel elsewhere
    grid = measured(SensorFrame(0, np.c_[low + (inside + 0.5) * size, np.zeros(2)].astype(np.float32)))
    occupied = grid.labels > 0
    assert np.array_equal(grid.occupancy > 0, occupied) and np.array_equal(grid.class_confidence > 0, occupied)
    refined = grid.occupancy[8:12, 12:16, 4:8].ravel()
    assert set(refined[1:]) == {round(137**2 / 255)} and refined[0] == round(128**2 / 255)  # a return is occupied
    assert grid.class_confidence[8:12, 12:16, 4:8].ravel().tolist() == [50, *range(51, 114)]
    assert (grid.occupancy[50, 60, 30], grid.class_confidence[50, 60, 30]) == (128, 50)


def test_without_refinement_all_confidence_is_the_fusers(measured):
    measured.refine = "none"
    grid = measured(SensorFrame(0, np.zeros((0, 4), np.float32)))
    assert grid.occupancy[grid.labels > 0].tolist() == [191] and grid.class_confidence.sum() == 50


def test_confidence_can_be_left_out_at_any_time(measured):
    measured.confidence = False
    grid = measured(SensorFrame(0, np.zeros((0, 4), np.float32)))
    assert grid.occupancy is None and grid.class_confidence is None and grid.labels.any()


def test_an_artifact_of_old_answers_without_confidence(scripted):
    expected = scripted(SensorFrame(0, np.zeros((0, 4), np.float32)))
    occupancy = scripted.fuser.outputs.pop("occupancy")
    del scripted.fuser.outputs["semantic_confidence"]
    scripted.fuser.outputs["occupied"] = (occupancy > 0).byte()
    scripted.refiner.outputs = {"labels": scripted.refiner.outputs["labels"]}
    outputs = tuple(tensor for tensor in scripted.contract.refiner.outputs if tensor.name == "labels")
    contract = replace(scripted.contract, refiner=replace(scripted.contract.refiner, outputs=outputs))
    outputs = tuple(t for t in contract.fuser.outputs if t.name not in ("occupancy", "semantic_confidence"))
    contract = replace(contract, fuser=replace(contract.fuser, outputs=outputs))
    old = Pipeline(contract, scripted.fuser, scripted.refiner)
    old.free_below = 0.0
    grid = old(SensorFrame(0, np.zeros((0, 4), np.float32)))
    assert np.array_equal(grid.labels, expected.labels) and grid.occupancy is None and grid.class_confidence is None


def doubtful(pipeline: Pipeline, free_below: float | None) -> np.ndarray:
    """Labels of a sweep with returns in the refined voxel and elsewhere, empty voxels in doubt told apart."""
    low, size = np.array(pipeline.contract.grid.low), pipeline.contract.grid.voxel_size
    points = np.c_[low + (np.array([[8, 12, 4], [50, 60, 30]]) + 0.5) * size, np.zeros(2)].astype(np.float32)
    pipeline.free_below = free_below
    return pipeline(SensorFrame(0, points)).labels


@pytest.mark.parametrize("refine", ["active", "none"])
def test_empty_voxels_that_may_be_occupied_are_unknown(measured, refine):
    """The fuser gives an empty child 0, 50 or 100 of 255, the refiner's bytes are squared."""
    measured.refine = refine
    occupancy = measured.fuser.outputs["occupancy"]
    occupancy[0, :3] = torch.tensor([49, 50, 100], dtype=torch.uint8)
    occupancy[(2 * 16 + 3) * 10 + 1, 0] = 100  # a return is occupied, whatever is said of it
    free = doubtful(measured, None)
    assert (free != IGNORE).all()
    for free_below, unknown in ((0.0, None), (50 / 255, 2), (50.5 / 255, 1), (100 / 255, 1), (0.4, 0), (1.0, 0)):
        labels = doubtful(measured, free_below)
        expected = np.count_nonzero(free == 0) if unknown is None else unknown
        assert np.array_equal(labels[free > 0], free[free > 0]), "what is occupied stays as it is"
        assert np.count_nonzero(labels == IGNORE) == expected
    assert doubtful(measured, 50 / 255)[0, 0, :4].tolist() == [0, IGNORE, IGNORE, 0]


def test_of_a_refined_voxel_the_refiner_says_what_is_in_doubt(measured):
    measured.refiner.outputs["labels"] = torch.zeros_like(measured.refiner.outputs["labels"])
    measured.refiner.outputs["occupancy"] = torch.arange(64, dtype=torch.uint8).expand(2560, 64) * 2
    measured.fuser.outputs["occupancy"][(2 * 16 + 3) * 10 + 1, 1:17] = 127  # refined away
    labels = doubtful(measured, (60 / 255) ** 2)[8:12, 12:16, 4:8].ravel()
    assert labels.tolist() == [4] + 29 * [0] + 34 * [IGNORE]


def test_doubt_changes_no_confidence_and_no_frame_changes_the_next(pipeline, frame, monkeypatch):
    expected = pipeline(frame)
    monkeypatch.setattr(pipeline, "free_below", 0.3)
    for _ in range(2):
        grid = pipeline(frame)
        unknown = grid.labels == IGNORE
        assert 0.001 < unknown.mean() < 0.999
        assert np.array_equal(np.where(unknown, 0, grid.labels), expected.labels)
        assert np.array_equal(grid.occupancy, expected.occupancy)
        assert np.array_equal(grid.class_confidence, expected.class_confidence)


def test_every_occupied_voxel_of_a_frame_has_a_confidence(pipeline, frame):
    grid = pipeline(frame)
    for values in (grid.occupancy, grid.class_confidence):
        assert np.array_equal(values > 0, grid.labels > 0) and len(np.unique(values)) > 20
    assert grid.occupancy[grid.labels > 0].min() >= 128 and grid.class_confidence[grid.labels > 0].min() >= 255 // 16


def test_refining_all_asks_for_every_occupied_voxel_in_portions(scripted):
    occupancy = scripted.fuser.outputs["occupancy"]
    occupancy[:] = 0
    occupancy[[5, 77, 300], [0, 63, 10]] = 200
    scripted.refine = "all"
    scripted(SensorFrame(0, np.zeros((0, 4), np.float32)))
    assert [inputs["parent"].tolist() for inputs in scripted.refiner.asked] == [[5], [77], [300]]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"refine": "some"}, "refine: expected one of active, all, none, got 'some'"),
        ({"backend": "tensorflow"}, "backend: expected one of auto, tensorrt, openvino, onnxruntime, torch"),
    ],
)
def test_wrong_settings_are_refused(small_artifact, arguments, message):
    with pytest.raises(BackendError, match=message):
        Pipeline.load(small_artifact, **arguments)


class _Gpu:
    """A GPU that does what it is told later: its time runs when somebody waits for it."""

    def __init__(self, monkeypatch) -> None:
        self.now, self.queue = 0.0, []
        gpu = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing
                self.reached = None

            def record(self) -> None:
                gpu.queue.append(self)

            def synchronize(self) -> None:
                while self.reached is None:
                    work = gpu.queue.pop(0)
                    if isinstance(work, Event):
                        work.reached = gpu.now
                    else:
                        gpu.now += work

            def elapsed_time(self, end: "Event") -> float:
                return end.reached - self.reached

        monkeypatch.setattr(torch.cuda, "Event", Event)


def test_stages_on_a_gpu_take_the_time_that_the_gpu_takes(monkeypatch):
    gpu = _Gpu(monkeypatch)
    watch = Stopwatch(torch.device("cuda"))
    for stage, milliseconds in (("presample", 3.0), ("fuser", 250.0), ("grid", 1.5)):
        gpu.queue.append(milliseconds)  # handed over at once, done later
        watch.lap(stage)
    assert gpu.now == 0, "nothing may wait before the end"
    assert watch.finish() == {"presample": 3.0, "fuser": 250.0, "grid": 1.5, "total": 254.5}


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_the_threads_of_whoever_uses_the_pipeline_stay_as_they_are(small_artifact, frame, backend, monkeypatch):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        pipeline = Pipeline.load(small_artifact, backend)
        assert torch.get_num_threads() == 3
        inside = []
        monkeypatch.setattr(pipeline, "select", lambda *_: inside.append(torch.get_num_threads()) or [][1])
        with pytest.raises(IndexError):
            pipeline(frame)
        assert inside == [1] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
