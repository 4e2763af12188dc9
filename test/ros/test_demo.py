"""What the demo reads from bags, checks of the answers, and a whole replay through the shipped model."""

import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from helpers.demo_run import VIEW, shown_as_answered, without_display
from helpers.listener import Listener, assert_forms_agree, listening
from PIL import Image

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.shipped import shipped
from occfusion_ros.ros.conversions.occupancy_grid import message_from_grid
from occfusion_ros.ros.demo import __main__ as demo
from occfusion_ros.ros.demo.replay import BagContents, Replay, read_contents
from occfusion_ros.ros.node.parameters import NUSCENES_CAMERAS
from occfusion_ros.ros.tools.output_collector import Answer

PACE_S = 3.0  # for a sweep; where that is too fast for a node on a busy machine, the demo is patient
SPEC = GridSpec((-4.0, -4.0, -2.0), 0.2, (40, 40, 20))


def answer(stamp: int, frame: str = "lidar_top", cars: int = 1) -> Answer:
    labels = np.zeros(SPEC.size, np.uint8)
    labels.ravel()[:cars] = 4
    return Answer(message_from_grid(OccupancyGrid(SPEC, labels, stamp, frame, ("cam_a",), "m")), {})


def contents(*cameras: str, stamps: tuple[int, ...] = (10, 20)) -> BagContents:
    return BagContents(
        "/lidar_top", {name: f"/{name}/camera_info" for name in cameras}, dict.fromkeys(stamps, "lidar_top")
    )


def outcome(*answers: Answer, grid_frame: str = "") -> Replay:
    result = Replay(contents("cam_a"), grid_frame)
    for one in answers:
        result.take(one)
    return result


def test_a_replay_without_faults_has_an_answer_for_every_sweep():
    assert outcome(answer(10), answer(20)).faults() == []
    assert outcome(answer(10, "grid"), answer(20, "grid"), grid_frame="grid").faults() == []


@pytest.mark.parametrize(
    "answers, fault",
    [
        ([answer(10)], "sweep 20 got no answer"),
        ([answer(10), answer(21)], "answer 21 belongs to no sweep"),
        ([answer(10), answer(20, "map")], "expected an answer in frame 'lidar_top', got 'map'"),
    ],
)
def test_faults_are_named(answers, fault):
    assert any(fault in line for line in outcome(*answers).faults())


def test_the_report_says_what_was_published():
    result = outcome(answer(10, cars=4), answer(20, cars=2))
    result.stage_ms = {"fuser": [10.0, 30.0], "never": []}
    text = "\n".join(demo.report(result))
    assert "sweeps in       2" in text and "occupancy out   2" in text and "1 to 1 of 1" in text
    assert "stage fuser            20.0 ms" in text and "never" not in text
    assert "         3  car" in text, "the mean of 4 and 2"
    assert "FAULT" not in text and "every sweep got an answer" in text
    assert "FAULT" in "\n".join(demo.report(outcome()))


@pytest.mark.parametrize(
    "cameras, name",
    [(NUSCENES_CAMERAS, "nuScenes"), ((), "LiDAR only"), ([f"camera_0{i}" for i in (1, 5, 6, 7, 8, 9)], "DDAD")],
)
def test_a_rig_is_recognized_by_its_cameras(cameras, name):
    assert demo.rig_of(contents(*cameras), np.zeros((0, 4)), Path()).name == name


@pytest.mark.parametrize("intensity, full", [(0.9, 1.0), (200.0, 255.0), (30_000.0, 65535.0)])
@pytest.mark.parametrize("road, grid", [(-1.84, None), (0.05, "grid")])
def test_an_unknown_rig_is_taken_from_its_data(tmp_path, intensity, full, road, grid):
    import yaml

    points = np.array([[4.0, y, road, intensity] for y in range(-5, 6)])
    rig = demo.rig_of(contents("cam_left", "cam_front"), points, tmp_path / "scene")
    (values,) = yaml.safe_load(Path(rig.arguments["params_file"]).read_text()).values()
    assert values["ros__parameters"] == {
        "lidar_topic": "/lidar_top",
        "cameras": ["cam_front", "cam_left"],
        "intensity_max": full,
    }
    assert rig.arguments.get("grid_frame") == grid


@pytest.mark.parametrize("rig", demo.RIGS, ids=lambda rig: rig.name)
def test_the_parameter_file_of_a_rig_names_its_cameras(rig):
    import yaml

    from occfusion_ros.ros.node.parameters import NodeParameters

    file = yaml.safe_load(shipped(rig.arguments["params_file"]).read_text())
    (values,) = (node["ros__parameters"] for node in file.values())
    assert set(NodeParameters(**values).cameras) == rig.cameras


def test_sweeps_further_apart_than_the_pace_are_played_at_their_own():
    assert contents(stamps=(0, 500_000_000, 1_500_000_000)).spacing_s == pytest.approx(0.5)
    assert contents(stamps=(7,)).spacing_s == 1.0


def test_a_folder_that_is_no_bag_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="cannot read the bag"):
        read_contents(tmp_path)


def test_a_missing_data_root_ends_with_a_message(tmp_path, capsys, ros_domain):
    paths = ["--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    assert demo.main([*paths, "--domain", str(ros_domain)]) == 1
    assert "error:" in capsys.readouterr().err


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return shipped("models/nano", "models/zoo/nano")
    except FileNotFoundError:
        pytest.skip("the model nano is not there")


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """A data root with one synthetic drive of two sweeps."""
    from synthetic import seeds, write_nuscenes_root

    root = tmp_path_factory.mktemp("recording")
    write_nuscenes_root(root, 1, 2, seeds.TESTS[901], progress=False)
    return root


@dataclass
class Run:
    """What the demo returned, what it found without a memory, where it wrote, all that it and the node printed, and all
    that the node published."""

    code: int
    outcome: Replay
    out: Path
    printed: str
    heard: Listener


@pytest.fixture(scope="module")
def run(model, recording, tmp_path_factory, ros_domain):
    """The real node, player and supervisor on a synthetic drive, which is what `make demo` runs."""
    out, kept, original, printed = tmp_path_factory.mktemp("demo"), [], demo.report, io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), listening() as heard:
        without_display(patch)
        patch.setattr(demo, "report", lambda outcome: kept.append(outcome) or original(outcome))
        patch.setattr(demo, "PATIENCE", 20.0)
        code = demo.main(
            [
                "--data",
                str(recording),
                "--out",
                str(out),
                "--domain",
                str(ros_domain),
                "--pictures",
                "1",
                "--seconds-per-sweep",
                str(PACE_S),
                "--backend",
                "onnxruntime",
                *VIEW,
            ]
        )
    return Run(code, kept[-1], out, printed.getvalue(), heard)


@pytest.mark.sensors
def test_every_sweep_is_answered_with_all_cameras(run):
    assert run.code == 0 and len(run.outcome.answers) == 2, run.printed
    assert all(set(a.message.cameras) == set(NUSCENES_CAMERAS) for a in run.outcome.answers.values())
    assert all(set(a.images) == set(NUSCENES_CAMERAS) for a in run.outcome.answers.values())
    assert len(list(run.out.glob("*/occupancy_*.png"))) == 1


@pytest.mark.sensors
def test_the_voxels_are_those_of_the_drive(run, recording):
    from occfusion_ros.datasets.nuscenes import NuScenesReader

    reader = NuScenesReader(recording)
    for token in reader.samples():
        frame, truth = reader.frame(token), reader.occupancy(token)
        grid, _ = run.outcome.answers[frame.stamp_ns].decoded()
        index, inside = grid.spec.indices(frame.points[:, :3])
        swept = np.zeros(grid.spec.size, bool)
        swept[tuple(index[inside].T)] = True
        assert overlap(grid.labels != 0, truth) > 4 * overlap(swept, truth), "far more than the sweep itself shows"
        road = grid.labels[246:266, 246:300] == 11
        assert road.any(axis=2).mean() > 0.8, "the vehicle stands on a driveable surface"
        heights = grid.spec.centers(np.argwhere(road))[:, 2]
        assert np.percentile(np.abs(heights + 1.84), 90) < 0.5, "which is flat, 1.84 m below the sensor"


def overlap(occupied: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union with the true occupancy, where that is known."""
    real, known = truth != 0, truth != 255
    return (occupied & real & known).sum() / ((occupied | real) & known).sum()


@pytest.mark.sensors
def test_all_outputs_agree_with_the_answers(run):
    """Of the sweeps alone, and costmaps of those with a memory, which have a fixed frame."""
    heard = run.heard.messages
    assert all(messages.keys() <= run.outcome.answers.keys() for messages in heard.values()), "of other sweeps"
    for stamp, answer in run.outcome.answers.items():
        grid, _ = answer.decoded()
        assert_forms_agree(heard, stamp, grid, NUSCENES_CAMERAS)
        costmap = heard["~/costmap"][stamp]
        cells = np.array(costmap.data, np.int8).reshape(costmap.info.height, costmap.info.width)
        assert costmap.header.frame_id == "map" and set(np.unique(cells)) >= {-1, 0, 100}
        middle = cells[cells.shape[0] // 2 - 3 :, cells.shape[1] // 2 - 3 :][:6, :6]
        assert (middle == 0).mean() > 0.8, "the vehicle stands on a driveable surface"


@pytest.mark.sensors
def test_the_node_runs_on_the_backend_that_is_asked_for(run):
    assert "on onnxruntime " in run.printed


@pytest.mark.sensors
def test_the_last_sweep_is_shown_alone_and_from_memory(run):
    (picture,) = run.out.glob("*/memory.png")
    image = np.asarray(Image.open(picture))
    middle = image.shape[1] // 2
    assert len(np.unique(image[:, :middle].reshape(-1, 3), axis=0)) > 5, "the left half shows no classes"
    assert (image[:, :middle] != image[:, -middle:]).any(), "both halves are the same"
    assert "memory: short" in (picture.parent / "memory.yaml").read_text().replace('"', "")


@pytest.mark.sensors
@pytest.mark.skipif(not VIEW, reason="pip install rerun-sdk foxglove-sdk")
def test_what_is_answered_is_written_for_rerun(run):
    (file,) = run.out.glob(f"*/{demo.RECORDING}")
    assert shown_as_answered(run.outcome, file)


@pytest.mark.sensors
def test_the_labels_of_its_bag_are_the_answers(run, tmp_path):
    """What `label_bags` writes, and what the node published."""
    from occfusion_ros.labels.__main__ import main as label_bags

    (bag,) = {path.parent for path in run.out.rglob("metadata.yaml")}
    settings = ["--params-file", str(shipped("config/occfusion.yaml")), "-p", "backend:=onnxruntime"]
    assert label_bags([str(bag), str(tmp_path), *settings, "--workers", "0", "--formats", "npz"]) == 0
    sweeps = [s for file in (tmp_path / "slices").iterdir() for s in json.loads(file.read_text())["sweeps"]]
    assert {sweep["stamp_ns"] for sweep in sweeps} == set(run.outcome.answers)
    for sweep in sweeps:
        grid, _ = run.outcome.answers[sweep["stamp_ns"]].decoded()
        assert np.array_equal(np.load(tmp_path / "occupancy" / f"{sweep['token']}.npz")["semantics"], grid.labels)


@pytest.mark.sensors
def test_stage_times_are_published(run):
    assert run.outcome.stage_ms["total"] and all(t > 0 for t in run.outcome.stage_ms["total"])
