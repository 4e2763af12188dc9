"""The harness and its figures; the node as a process under load, for seconds."""

import json
import threading
import time

import numpy as np
import pytest

from benchmarks.load import __main__ as reliability
from benchmarks.load import run_figures as figures
from benchmarks.load.harness import Answer, Harness, Run, Sample
from benchmarks.load.messages import load_frame, save_frame, transform
from benchmarks.load.null_model import write_null_model
from benchmarks.load.page import write_page
from benchmarks.load.sensors import LIDAR, Sensors
from occfusion_ros.runtime.artifact import load_artifact
from occfusion_ros.runtime.pipeline import Pipeline
from synthetic import SyntheticDrive

MS = 1_000_000
S = 1_000_000_000
LIGHT = Sensors(cameras=1, lidar_hz=5.0, camera_hz=5.0)


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Small images, so that little but the node takes time."""
    folder = tmp_path_factory.mktemp("ground")
    save_frame(SyntheticDrive(7, image_size=(90, 160)).frame(0).frame, folder / "frame.npz")
    null = write_null_model(folder / "null", load_artifact("nano").contract)
    return reliability.Ground(folder / "frame.npz", {"null": {"model": str(null), "backend": "onnxruntime"}})


def skip_unless_timely(late_p99_ms: float) -> None:
    """Where the sensors themselves are late, the node's lateness says nothing of the node."""
    if late_p99_ms > 50:
        pytest.skip(f"this machine is too busy: the sensors that feed the node were {late_p99_ms:.0f} ms late")


def a_run(sensors=Sensors(cameras=2), seconds=4, delay_ms=50) -> Run:
    """Sweeps at 20 Hz, images 10 ms after each; all answered after `delay_ms`."""
    sweeps = [S + 50 * MS * i for i in range(20 * seconds)]
    images = [stamp + 10 * MS for stamp in sweeps]
    samples = [Sample(float(t), 900.0, 500.0 + t / 60, 30, 26, 0.5 * t) for t in range(60)]
    return Run(
        sensors,
        seconds,
        {LIDAR: sweeps, "cam_front": images, "cam_front_right": images},
        answers=[Answer(stamp, stamp + delay_ms * MS, 2) for stamp in sweeps],
        samples=samples,
        stage_ms={"total": [30.0] * 9},
        reports=[(1 * S, {"frames": 2}), (3 * S, {"frames": 0}), (4 * S + 500 * MS, {"frames": 1})],
    )


def test_latency_counts_from_the_newest_input():
    assert figures.newest_input(a_run(), S) == S + 10 * MS
    assert set(figures.latency_ms(a_run())) == {40.0}
    stages = figures.latency_by_stage(a_run())
    assert stages["total"]["p50"] == 30.0 and stages["pairing and transport"]["p50"] == 10.0


def test_what_is_lost_is_seen():
    run = a_run()
    counted = figures.counted(run)
    assert figures.lost(run) == {"sweeps": len(counted), "unanswered": 0, "without a camera": 0}
    run.answers = [a for a in run.answers if a.stamp_ns != counted[3]]
    run.answers[-20] = Answer(run.answers[-20].stamp_ns, run.answers[-20].arrival_ns, 1)
    assert figures.lost(run) == {"sweeps": len(counted), "unanswered": 1, "without a camera": 1}


def test_growth_and_rate():
    run = a_run()
    assert figures.slope_per_hour(run, "anonymous_mib") == pytest.approx(60.0)
    assert figures.growth(run)["threads"] == {"first": 30, "last": 30, "largest": 30, "per_hour": 0}
    assert figures.rate(run)["mean_hz"] == 20.0 and figures.rate(run)["longest_gap_ms"] == 50.0
    assert figures.cpu_percent(run) == 50.0
    assert figures.diagnostics_jitter_ms(run) == {"p50": 750.0, "p99": 995.0, "max": 1000.0}
    assert figures.verdicts(a_run(seconds=5)) == {"frames": [1, 1, 0]}, "the first came before anything counted"


def test_the_highest_rate_is_found():
    def play(sensors: Sensors, seconds: float) -> Run:
        run = a_run(sensors)
        if sensors.lidar_hz > 31:
            del run.answers[-20]
        return run

    found = reliability.highest_rate(play, Sensors(cameras=2), 4, steps=7)
    assert 30 < found["lidar_hz"] <= 31 and found["camera_hz"] == pytest.approx(0.6 * found["lidar_hz"])
    assert len(found["tried"]) == 7 and found["latency_ms"]
    assert (
        reliability.highest_rate(lambda *_: a_run(delay_ms=0, sensors=Sensors(cameras=3)), Sensors(), 4, steps=2)[
            "lidar_hz"
        ]
        == 0
    )


def test_the_null_model_keeps_returns(ground):
    frame = load_frame(ground.frame)
    pipeline = Pipeline.load(ground.models["null"]["model"], "onnxruntime")
    grid = pipeline(frame)
    near = np.hypot(*frame.points[:, :2].T) > 1.6
    indices, inside = grid.spec.indices(frame.points[near, :3])
    assert grid.labels[tuple(indices[inside].T)].all()
    assert (grid.labels != 0).sum() < len(frame.points)
    assert grid.stage_ms["fuser"] < 100


def test_transforms_arrive_as_they_were_sent():
    from occfusion_ros.ros.conversions.stamps import stamp_ns
    from occfusion_ros.ros.transforms.tree import TransformTree

    pose = SyntheticDrive(7).cameras[3].base_from_camera
    sent, tree = transform("a", "b", pose, 5 * S), TransformTree()
    shift, turn = sent.transform.translation, sent.transform.rotation
    tree.insert("a", "b", stamp_ns(sent.header), [shift.x, shift.y, shift.z], [turn.x, turn.y, turn.z, turn.w])
    assert np.allclose(tree.lookup("a", "b", 5 * S), pose)


@pytest.mark.sensors
def test_a_short_soak_at_the_full_rate_starves_nothing(ros_domain, ground):
    found = reliability.soak(ground, "null", 0.12)
    json.dumps(found)
    assert found["sent"]["cam_front"] > 70
    assert found["growth"]["threads"]["last"] > 5 and found["growth"]["files"]["last"] > 5
    skip_unless_timely(found["late_p99_ms"])
    assert found["rate"]["mean_hz"] > 0.5 and found["latency_ms"]["convert"] and not found["lost"]["without a camera"]
    assert found["diagnostics_jitter_ms"]["max"] < 1000, "timers of the node came late"


@pytest.mark.sensors
def test_a_slow_reliable_subscriber_does_not_hold_the_node_up(ros_domain, ground):
    from occfusion_msgs.msg import OccupancyGrid3D
    from occfusion_ros.ros.startup.rclpy_start import spinning_node

    released, taken = threading.Event(), []

    def take(message: OccupancyGrid3D) -> None:
        taken.append(time.monotonic())
        released.wait(60.0)

    with Harness(ground.frame, LIGHT, **ground.models["null"]) as harness, spinning_node("slow", []) as slow:
        slow.create_subscription(OccupancyGrid3D, "/occfusion/occupancy", take, 1)
        run = harness.run(LIGHT, 8.0)
        released.set()
    answers = figures.counted_answers(run)
    assert len(taken) == 1, "the slow one took its first message and held it"
    skip_unless_timely(run.late_p99_ms)
    assert len(answers) > 8, "more than all queues hold"
    assert answers[-1].stamp_ns > figures.counted(run)[-1] - 2 * S


@pytest.mark.sensors
def test_load_is_measured(ros_domain, ground):
    found = reliability.load(ground, 5.0, cases=((1, "raw"),), steps=1)
    assert found["rows"][0]["tried"][0]["sweeps"] > 20
    json.dumps(found)


def test_the_page_says_what_was_measured_and_what_was_not(tmp_path):
    about = {"command": "a command", "machine": "a machine", "load": 0.1, "versions": {"torch": "1"}}
    run = a_run(Sensors(cameras=2), seconds=30)
    said = {**about, **reliability.described(run)}
    data = {
        "soak null": {**said, "minutes": 30, "growth": figures.growth(run), "curves": figures.curves(run)},
        "load": {
            **about,
            "seconds": 9,
            "resolution": 1.07,
            "rows": [
                {"cameras": 2, "transport": "raw", "lidar_hz": 33.3, "camera_hz": 20.0, "tried": [], **said},
                {"cameras": 6, "transport": "raw", "lidar_hz": 0.0, "camera_hz": 0.0, "tried": []},
            ],
        },
        "release": {
            **about,
            "seconds": 9,
            "rows": [{"release": "rhythm", "since_sweep_ms": figures.spread(figures.since_sweep_ms(run)), **said}],
        },
    }
    page = tmp_path / "reliability.md"
    write_page(json.loads(json.dumps(data)), page)
    text = page.read_text()
    assert "(good / warning / error): frames 1 / 1 / 0." in text
    assert text.count("**Not run**") == 2
    assert "| rhythm | " in text
    assert "| 2 | raw | 33.3 | 20.0 | 40 / 40 / 40 |" in text and "| 6 | raw | none | none |" in text
    assert "## Fuzzing" in text and "| PointCloud2 | " in text
    for name in ("soak_null", "load"):
        assert (tmp_path / f"images/reliability_{name}.png").stat().st_size > 5000


def test_without_figures_the_page_says_so(tmp_path):
    assert reliability.main(["--render", "--page", str(tmp_path / "reliability.md")]) == 0
    assert (tmp_path / "reliability.md").read_text().count("**Not run**") == 5
