"""The programs that time frames: what they time, and the page they write."""

import json
from argparse import Namespace
from collections import defaultdict

import numpy as np
import pytest

from benchmarks.load.messages import messages_of
from benchmarks.performance import __main__ as performance
from benchmarks.performance import against, cost, latency, networks, outputs, scaling
from occfusion_ros.core.errors import OccFusionError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.runtime.artifact import load_artifact
from occfusion_ros.runtime.backends.protocol import BackendSettings
from synthetic import SyntheticDrive


@pytest.fixture(scope="module")
def frame() -> SensorFrame:
    return SyntheticDrive(7, image_size=(90, 160)).frame(0).frame


def test_messages_carry_the_frame(frame):
    from occfusion_ros.ros.conversions.image import rgb_from_compressed
    from occfusion_ros.ros.conversions.point_cloud import points_from_cloud

    messages = messages_of(frame)
    assert np.array_equal(points_from_cloud(messages.cloud), frame.points)
    for message, camera in zip(messages.images, frame.cameras, strict=True):
        error = np.abs(rgb_from_compressed(message).astype(int) - camera.image)
        assert error.mean() < 8


def test_stages_add_up_to_the_frame_and_the_backbone_is_timed_beside(small_artifact, frame, monkeypatch):
    monkeypatch.setattr(latency, "WARM_UP", 1)
    rows = latency.measure(small_artifact, messages_of(frame), 1, 3, ["onnxruntime"])
    assert {r["backend"] for r in rows} == {"onnxruntime"} and rows[0]["precision"] == "fp32"
    fp32 = {r["stage"]: r["p50_ms"] for r in rows if r["precision"] == "fp32"}
    parts = sum(ms for stage, ms in fp32.items() if stage not in ("frame", "backbone alone"))
    assert parts == pytest.approx(fp32["frame"], rel=0.3)
    assert {"decode", "convert", "presample", "upload", "fuser", "select", "refiner", "grid", "serialize"} < set(fp32)
    assert 0 < fp32["backbone alone"] < fp32["frame"]
    assert all(r["p50_ms"] <= r["p90_ms"] <= r["p99_ms"] and r["threads"] == 1 for r in rows)


def test_the_backbone_alone_is_that_of_the_fuser(small_artifact):
    import torch
    from helpers.small_model import small_model

    alone = latency.backbone_alone(load_artifact(small_artifact), "onnxruntime", BackendSettings(1, "fp32"))
    images = torch.randint(0, 255, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        expected = small_model().backbone(images)
    got = list(alone.run({"images": images}).values())
    assert [tuple(g.shape) for g in got] == [tuple(e.shape) for e in expected]
    assert all(torch.allclose(g, e, atol=1e-3) for g, e in zip(got, expected))


def test_frames_grow_as_they_are_told(frame):
    assert len(scaling.with_points(frame, 1234).points) == 1234
    for count in (0, 2, 8):
        grown = scaling.with_cameras(frame, count)
        assert len(grown.cameras) == count == len({camera.name for camera in grown.cameras})
    rows = [{"axis": "points", "value": v, "stage": "total", "p50_ms": v**2 / 1e6} for v in (1000, 2000, 4000)]
    assert scaling.exponent(rows, "points") == pytest.approx(2.0)


def test_the_network_like_m_conet_has_the_published_size(monkeypatch):
    monkeypatch.setattr(cost, "peak_memory", lambda *_: defaultdict(float))  # it takes minutes
    monkeypatch.setattr(networks, "SWEEPS", 2)  # a small part of what it computes
    rows = cost.network_costs()
    total = {r["model"]: r for r in rows if r["part"] == "total"}
    assert set(total) == {"nano", "swift", "base", "mconet"}
    assert 2 * total["swift"]["gmacs"] < total["nano"]["gmacs"]
    assert total["mconet"]["gmacs"] == pytest.approx(3066, rel=0.05)  # REO, table 7
    assert total["mconet"]["params_m"] == pytest.approx(125.34, rel=0.1)
    assert total["base"]["gmacs"] < 0.5 * total["mconet"]["gmacs"]
    for name, whole in total.items():
        parts = [r["gmacs"] for r in rows if r["model"] == name and r["part"] != "total"]
        assert sum(parts) == pytest.approx(whole["gmacs"]) and min(parts) > 0


def test_the_page_says_what_was_measured(tmp_path):
    stages = [
        {
            "model": "nano",
            "backend": backend,
            "precision": precision,
            "threads": 2,
            "stage": stage,
            "p50_ms": ms,
            "p90_ms": ms,
            "p99_ms": ms,
        }
        for backend, precision, scale in (("onnxruntime", "fp32", 1.0), ("openvino", "bf16", 0.4))
        for stage, ms in (("fuser", 200 * scale), ("frame", 280 * scale), ("backbone alone", 90 * scale))
    ]
    grown = [
        {"axis": axis, "value": value, "stage": stage, "p50_ms": 10.0 * value}
        for axis in performance.AXES
        for value in (1, 2)
        for stage in ("total", "presample", "fuser", "refiner")
    ]
    costs = [
        {"model": model, "part": "total", "gmacs": gmacs, "params_m": 1.0, "peak_mib": gmacs}
        for model, gmacs in (("nano", 20.0), ("base", 700.0), ("mconet", 3000.0))
    ]
    data = {
        "machine": "a machine",
        "load": 0.1,
        "versions": {"torch": "1"},
        "threads": 2,
        "repeats": 9,
        "points": 30000,
        "source": "a synthetic frame",
        "latency": stages,
        "scaling": grown,
        "cost": costs,
        "outputs": {
            "machine": "a machine",
            "rows": [{"topic": "~/markers", "ms": 20.0, "bytes": 2_000_000}, {"topic": "all", "ms": 60.0, "bytes": 0}],
            "frame_ms": 80.0,
            "ratios": {"all but overlays": 1.1, "all": 1.4},
            "occupied": 1234,
        },
    }
    page = tmp_path / "performance.md"
    page.with_suffix(".json").write_text(json.dumps(data))
    assert performance.main(["--render", "--page", str(page)]) == 0
    text = page.read_text()
    assert "onnxruntime fp32: 280 ms a frame; the goal of 300 ms is met" in text
    assert "openvino bf16: 112 ms a frame; the goal of 150 ms is met" in text
    assert "takes 2.1 times as long as the backbone alone; the goal of at most 2 is missed" in text
    assert "Not run here: tensorrt" in text and "On a GPU" not in text and "Distorted images" not in text
    assert (
        "| `~/markers` | 20.0 | 2.00 |" in text
        and "1.10 times as long with all but overlays; the goal of at most 1.3 is met," in text
    )
    assert "1.40 times as long with all; the goal of at most 1.3 is missed." in text
    assert "| cameras | 1: 10, 2: 20 | 1.00 |" in text
    for name in ("latency", "scaling"):
        assert (tmp_path / f"images/performance_{name}.png").stat().st_size > 5000


def test_the_page_has_what_was_compared_with_an_older_checkout(tmp_path):
    page = tmp_path / "performance.md"
    assert against.section_beside(page) == []
    row = {"model": "swift", "backend": "openvino", "precision": "fp32", "cpu": 0.512, "wall": 0.6}
    about = {"machine": "a machine", "load": 0.1, "old": "c0ffee", "source": "a frame", "threads": 2, "repeats": 9}
    row |= {"old_cpu_ms": 700.4, "old_wall_ms": 400.0}
    page.with_name(against.FIGURES).write_text(json.dumps({**about, "rows": [row]}))
    text = "\n".join(against.section_beside(page))
    assert "| swift | openvino fp32 | 0.51 | 0.60 | 700 | 400 |" in text and "commit c0ffee" in text


def test_every_output_is_measured(small_artifact, frame):
    found = outputs.measure(small_artifact, frame, 1, 1)
    topics = [row["topic"] for row in found["rows"]]
    assert {"~/occupancy", "~/markers", "~/costmap", "~/costmap/high", "all"} <= set(topics)
    assert found["rows"][-1]["bytes"] == sum(row["bytes"] for row in found["rows"][:-2]) and found["ratios"]["all"] >= 1


def test_frames_of_two_checkouts_are_compared_in_turns():
    class Frames:
        def __init__(self, *times):
            self.times = iter([(99.0, 99.0)] * against.WARM_UP + list(times))

        def frame(self):
            return next(self.times)

    found = against.compare(Frames((10, 20), (100, 40), (10, 10)), Frames((5, 16), (60, 20), (7, 9)), 3)
    assert found == {"cpu": 0.6, "wall": 0.8, "old_cpu_ms": 10, "old_wall_ms": 20}


def test_a_checkout_that_does_not_run_is_named(tmp_path):
    options = Namespace(precision="fp32", threads=1, data=None)
    with against.Worker(tmp_path, against.SHIPPED, "onnxruntime", options) as worker:
        with pytest.raises(OccFusionError, match=f"{tmp_path}: its process ended"):
            worker.frame()
