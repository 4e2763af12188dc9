"""A camera behind a lens gives the occupancy that its rectified twin gives."""

import numpy as np
import pytest

from benchmarks.performance import lenses
from benchmarks.performance.__main__ import lens_section
from occfusion_ros.core.lens import BROWN, Lens
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline
from synthetic.sensors.lens import lens_rays

SIZE = (360, 640)
TWINS = ("plumb_bob", "fisheye")


@pytest.mark.parametrize("turn", [(1.0, 0, 0, 0, 1, 0, 0, 0, 1), (0.8, 0, 0.6, 0, 1, 0, -0.6, 0, 0.8)])
@pytest.mark.parametrize("name", lenses.LENSES)
def test_rendered_directions_come_back_to_their_pixels(name, turn):
    model, coefficients = lenses.LENSES[name]
    lens = Lens(model, (512.0, 0, 319.5, 0, 512, 179.5, 0, 0, 1), coefficients, turn)
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    back = lens.pixels(lens_rays(lens, SIZE))
    there = np.isfinite(back).all(-1)
    assert there.mean() > 0.9
    np.testing.assert_allclose(back[there], np.stack([u, v], -1)[there], atol=0.01)


@pytest.fixture(scope="module")
def frames():
    return lenses.twins(lenses.DRIVE, lenses.FRAME, SIZE, TWINS)


def test_occupancy_is_that_of_the_rectified_twins(frames):
    """The shipped model; the twins differ by sensor noise too, so that undistorting by OpenCV is no better."""
    pipeline = Pipeline.load("nano", "onnxruntime", settings=BackendSettings(precision="fp32"))
    found = {row["images"]: row for row in lenses.compare(pipeline, frames)}
    for name in TWINS:
        ours, opencv, raw = found[name], found[f"{name}, by OpenCV"], found[f"{name}, taken as rectified"]
        assert ours["all"] > 0.998 and ours["occupied"] > 0.91, found
        assert ours["occupied"] > opencv["occupied"] - 0.01 and ours["occupied"] > raw["occupied"] + 0.02, found
    assert found[lenses.NO_CAMERAS]["occupied"] < 0.85


def test_the_page_shows_cost_and_equal_labels():
    for row in lenses.costs((64, 176), 0.27, 2):
        assert row["lens"] in lenses.LENSES and min(row["rectified"], row["undistorted"], row["map"]) > 0
    page = "\n".join(
        lens_section(
            {
                "lenses": {
                    "backend": "x",
                    "size": SIZE,
                    "repeats": 2,
                    "cost": [{"lens": "fisheye", "rectified": 2.0, "undistorted": 3.0, "map": 9.0}],
                    "equal_labels": [{"images": "fisheye", "all": 0.9993, "occupied": 0.95}],
                }
            }
        )
    )
    assert "| fisheye | 2.0 | 3.0 | 1.50 | 9 |" in page and "| fisheye | 0.9993 | 0.950 |" in page


def test_a_lens_bends_what_a_rectified_camera_sees(frames):
    rectified, bent = (frames[name].cameras[1] for name in ("rectified", "fisheye"))
    assert bent.lens.model != BROWN and rectified.lens is None
    assert np.array_equal(frames["rectified"].points, frames["fisheye"].points)
    assert np.abs(rectified.image.astype(int) - bent.image).mean() > 3
