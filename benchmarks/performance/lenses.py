"""What distorted images cost and change.

A synthetic street is rendered with rectified cameras and through lenses, and the robot's pipeline answers each. Its
labels are compared, and what the images cost is timed.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from occfusion_ros.core.frames import CameraImage, SensorFrame
from occfusion_ros.core.lens import BROWN, FISHEYE, Lens
from occfusion_ros.presample.projection import fit_pixels, network_map
from occfusion_ros.runtime.pipeline import Pipeline
from synthetic import SyntheticDrive, seeds
from synthetic.sensors.rig import Camera, nuscenes_rig

DRIVE, FRAME = seeds.VALIDATION[3], 4
RECTIFIED, NO_CAMERAS = "rectified", "no cameras"
LENSES = {
    "plumb_bob": (BROWN, (-0.32, 0.11, 0.0008, -0.0005, -0.015)),
    "rational_polynomial": (BROWN, (0.9, 0.15, 0.0004, -0.0006, 0.006, 1.25, 0.4, 0.03)),
    "fisheye": (FISHEYE, (0.02, -0.008, 0.002, -0.0006)),
}
"""By the name that CameraInfo has for them, with coefficients as wide cameras of vehicles have them."""


def through(camera: Camera, lens: str) -> Camera:
    """The same camera behind a lens of `LENSES`; its rectified image is the image that it had."""
    model, coefficients = LENSES[lens]
    return replace(camera, lens=Lens(model, tuple(camera.intrinsics.ravel().tolist()), coefficients))


def twins(
    seed: int, index: int, image_size: tuple[int, int] | None = None, lenses: Iterable[str] = LENSES
) -> dict[str, SensorFrame]:
    """One moment of a synthetic drive by lens: rectified, and through some of `LENSES`."""
    rig, frames = nuscenes_rig(), {}
    for lens in tqdm((RECTIFIED, *lenses), "rendering", unit="lens"):
        cameras = tuple(camera if lens == RECTIFIED else through(camera, lens) for camera in rig.cameras)
        frames[lens] = SyntheticDrive(seed, replace(rig, cameras=cameras), image_size).frame(index).frame
    return frames


def equal_labels(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Count shares of equal labels: of `all` voxels, and of those that either side calls `occupied`."""
    equal, occupied = one == other, (one > 0) | (other > 0)
    return {"all": float(equal.mean()), "occupied": float(equal[occupied].mean())}


def undistorted_by_opencv(camera: CameraImage) -> CameraImage:
    """The rectified image in two steps: the whole image first, at its own size."""
    import cv2

    matrix, lens = np.reshape(camera.lens.matrix, (3, 3)), camera.lens
    library, least = (cv2, 5) if lens.model == BROWN else (cv2.fisheye, 4)
    coefficients = np.array((*lens.coefficients, *(0,) * least)[: max(least, len(lens.coefficients))])
    maps = library.initUndistortRectifyMap(
        matrix,
        coefficients,
        np.reshape(lens.rotation, (3, 3)),
        camera.intrinsics,
        camera.image.shape[1::-1],
        cv2.CV_32F,
    )
    return replace(camera, image=cv2.remap(camera.image, *maps, cv2.INTER_LINEAR), lens=None)


def compare(pipeline: Pipeline, frames: dict[str, SensorFrame]) -> list[dict[str, Any]]:
    """Compare the answers with that to rectified images: `images`, `all`, `occupied`.

    Beside the lenses stand what would be if OpenCV had undistorted the images, if nobody had, and without cameras.
    """
    first = {
        f"{lens}, by OpenCV": replace(frame, cameras=tuple(map(undistorted_by_opencv, frame.cameras)))
        for lens, frame in frames.items()
        if lens != RECTIFIED
    }
    raw = {
        f"{lens}, taken as rectified": replace(frame, cameras=tuple(replace(c, lens=None) for c in frame.cameras))
        for lens, frame in frames.items()
        if lens != RECTIFIED
    }
    others = {**frames, **first, **raw, NO_CAMERAS: replace(frames[RECTIFIED], cameras=())}
    labels = {name: pipeline(frame).labels for name, frame in others.items()}
    return [{"images": name, **equal_labels(labels[RECTIFIED], labels[name])} for name in others if name != RECTIFIED]


def costs(size: tuple[int, int], horizon: float, repeats: int) -> list[dict[str, Any]]:
    """Processor time of one image on one thread by lens, medians in milliseconds.

    `rectified` and `undistorted`: to the network's `size` (height, width); `map`: once for a calibration. Processor
    time, because it hangs less on whatever else runs.
    """
    torch.set_num_threads(1)
    front, rows = nuscenes_rig().cameras[0], []
    image = np.random.default_rng(0).integers(0, 256, (*front.size, 3), dtype=np.uint8)
    for name in LENSES:
        lens = through(front, name).lens
        rectified = CameraImage(name, image, front.intrinsics, np.eye(4))
        make_map = partial(network_map.__wrapped__, lens, tuple(front.intrinsics.ravel()), front.size, size, horizon)
        tasks = {
            "rectified": partial(fit_pixels, rectified, size, horizon),
            "undistorted": partial(fit_pixels, replace(rectified, lens=lens), size, horizon),
            "map": make_map,
        }
        rows.append({"lens": name, **_milliseconds(tasks, repeats)})
    return rows


def _milliseconds(tasks: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median processor time of this thread by task, after a first run of each; in turns, so that all suffer alike."""
    found: dict[str, list[float]] = {what: [] for what in tasks}
    for _ in range(repeats + 1):
        for what, task in tasks.items():
            start = time.thread_time()
            task()
            found[what].append(1e3 * (time.thread_time() - start))
    return {what: median(values[1:]) for what, values in found.items()}


def measure(artifact: Path, repeats: int) -> dict[str, Any]:
    """Measure `equal_labels` by images and `cost` by lens."""
    pipeline, frames = Pipeline.load(artifact), twins(DRIVE, FRAME)
    return {
        "backend": pipeline.backend_name,
        "size": frames[RECTIFIED].cameras[0].image.shape[:2],
        "repeats": repeats,
        "equal_labels": compare(pipeline, frames),
        "cost": costs(pipeline.contract.image_size, pipeline.contract.horizon, repeats),
    }
