"""The shipped model answers alike on every backend, on real frames."""

import json

import pytest

from export.parity import LIMITS, MIOU_LOSS, main
from occfusion_ros.core.shipped import shipped
from occfusion_ros.runtime.backends import openvino_backend


@pytest.fixture(scope="module")
def report(nuscenes_sample, tmp_path_factory) -> dict:
    """What the command writes of the shipped model on real recordings; PyTorch itself is what it compares with."""
    path = tmp_path_factory.mktemp("parity") / "report.json"
    folder = shipped("models/nano", "models/zoo/nano")
    assert (
        main(
            [
                str(folder),
                "--data",
                str(nuscenes_sample),
                "--frames",
                "1",
                "--labeled",
                "1",
                "--backend",
                "openvino",
                "onnxruntime",
                "--json",
                str(path),
            ]
        )
        == 0
    )
    return json.loads(path.read_text())


def test_backends_and_precisions_keep_their_limits(report):
    found = {(b["backend"], b["precision"]): b for b in report["backends"]}
    wanted = {("onnxruntime", "fp32"), ("onnxruntime", "fp16"), ("onnxruntime", "int8")}
    if not openvino_backend.unavailable_reason():
        wanted |= {("openvino", "fp32"), ("openvino", "int8")}
    assert wanted <= set(found) and report["passed"]
    for (_, precision), backend in found.items():
        grids = [c["occupied"] for c in backend["comparisons"] if c["quantity"].startswith("grid")]
        assert len(grids) == 6 and min(grids) >= LIMITS[precision].occupied  # a frame and two with fewer cameras
        assert backend["miou"][1] >= backend["miou"][0] * (1 - MIOU_LOSS)


def test_float32_loses_nothing(report):
    for backend in report["backends"]:
        if backend["precision"] == "fp32":
            assert backend["miou"][1] == pytest.approx(backend["miou"][0], abs=1e-4)
            assert min(c["occupied"] for c in backend["comparisons"] if "occupied" in c) >= 0.9999
