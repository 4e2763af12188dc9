"""Malformed messages through everything that reads messages, and through the running node.

Each message must be taken or refused on purpose, within a second of computing and within bounded memory; what is taken
must be fit to compute with. Whatever else happens is reported with the seed that brings it back.
"""

import os
import re
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from occfusion_ros.core.atomic import write_json
from occfusion_ros.core.command import parser_of
from occfusion_ros.core.errors import OccFusionError
from occfusion_ros.ros.conversions.camera_info import RECTIFIED, calibration_from_info
from occfusion_ros.ros.conversions.image import rgb_from_compressed, rgb_from_image
from occfusion_ros.ros.conversions.occupancy_grid import grid_from_message
from occfusion_ros.ros.conversions.point_cloud import MAX_METERS, points_from_cloud
from occfusion_ros.ros.conversions.stamps import frame_of
from occfusion_ros.ros.transforms.buffer import insert_transform
from occfusion_ros.ros.transforms.tree import TransformError, TransformTree

from ..machine import processor, versions
from .malformed_messages import FRAMES, NOW_NS, SIZE, MalformedMessages, encoded_files

CHUNK = 500  # messages of one seed
SLOW_S = 1.0
HANG_S = 60
MOST_MB = 1500.0  # by which a process may grow; the largest image that is taken needs half a gigabyte
SHARES = {
    "PointCloud2": 0.3,
    "Image": 0.2,
    "CompressedImage": 0.2,
    "CameraInfo": 0.15,
    "TF": 0.1,
    "OccupancyGrid3D": 0.05,
}


@dataclass
class Findings:
    """What became of messages.

    Attributes:
        causes: number of messages by what became of them.
        failures: what must not happen, with kind and seed.
        slowest_s: seconds of computing, the longest that one message took.
        peak_mb: megabytes, the most memory of a process.
    """

    causes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    peak_mb: float = 0.0

    def add(self, other: "Findings") -> None:
        """Take in those of other messages."""
        self.causes += other.causes
        self.failures += other.failures
        self.slowest_s, self.peak_mb = max(self.slowest_s, other.slowest_s), max(self.peak_mb, other.peak_mb)


def _cloud(malformed: MalformedMessages) -> None:
    message = malformed.cloud()
    points = points_from_cloud(message, 255.0)
    frame_of(message.header)
    expect(points.dtype == np.float32 and points.shape[1:] == (4,), f"points {points.dtype} {points.shape}")
    expect(12 * len(points) <= 8 * len(message.data), "more points than bytes")
    expect(bool((np.abs(points[:, :3]) <= MAX_METERS).all()), "a coordinate that is no bearable number")
    expect(bool(((points[:, 3] >= 0) & (points[:, 3] <= 1)).all()), "an intensity outside 0..1")


def _image(malformed: MalformedMessages) -> None:
    message = malformed.image()
    pixels = rgb_from_image(message)
    expect(pixels.dtype == np.uint8 and pixels.shape == (message.height, message.width, 3), f"{pixels.shape}")
    expect(message.height * message.width <= len(message.data), "more pixels than bytes")


def _compressed(malformed: MalformedMessages) -> None:
    size = SIZE if malformed.rng.random() < 0.8 else None
    pixels = rgb_from_compressed(malformed.compressed(), size)
    expect(pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3, f"{pixels.dtype} {pixels.shape}")
    expect(pixels.shape[:2] == (size or pixels.shape[:2]), f"size {pixels.shape[:2]}")


def _camera_info(malformed: MalformedMessages) -> None:
    calibration = calibration_from_info(malformed.camera_info(), str(malformed.rng.choice(RECTIFIED)))
    expect(bool(np.isfinite(np.linalg.inv(calibration.intrinsics)).all()), "intrinsics that cannot be inverted")
    expect(min(calibration.size) > 0, f"size {calibration.size}")


def _transforms(malformed: MalformedMessages) -> None:
    tree, errors = TransformTree(), []
    for transform in malformed.transforms().transforms:
        try:
            insert_transform(tree, transform, static=bool(malformed.rng.integers(2)))
        except TransformError as error:
            errors.append(error)
    target, source = (str(name) for name in malformed.rng.choice(FRAMES, 2))
    matrix = tree.lookup(target, source, int(malformed.rng.choice([NOW_NS, NOW_NS + 1, 0, 2**62])))
    expect(bool(np.isfinite(matrix).all()), "a transform that is not finite")
    expect(np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-6), "a transform that is not rigid")
    if errors:
        raise errors[0]


def _occupancy(malformed: MalformedMessages) -> None:
    grid = grid_from_message(malformed.occupancy())
    flat = grid.labels.reshape(-1)
    expect(flat.size <= 2**28, f"{flat.size} voxels")
    expect(bool((grid.remembered < flat.size).all()), "a remembered voxel outside the grid")
    expect(not (flat[grid.remembered] == 255).any(), "a remembered voxel that is unknown")


KINDS: dict[str, Callable[[MalformedMessages], None]] = {
    "PointCloud2": _cloud,
    "Image": _image,
    "CompressedImage": _compressed,
    "CameraInfo": _camera_info,
    "TF": _transforms,
    "OccupancyGrid3D": _occupancy,
}


def expect(holds: bool, otherwise: str) -> None:
    """Raise unless what was taken is as it must be."""
    if not holds:
        raise AssertionError(f"taken with {otherwise}")


def cause_of(error: Exception | str) -> str:
    """An error's message without what differs from one message to the next."""
    text = re.split(r",? got |; known|loop: ", str(error))[0]
    text = re.sub(r"(?s)transform .* from .*?:", "transform:", text)
    return re.sub(r"'[^']*'|\[.*\]|(?<![a-z\d])-?\d[\d.e+]*", "N", text)[:100]


def fuzz_chunk(kind: str, seed: int, count: int = CHUNK) -> Findings:
    """Messages of one seed through what reads that kind."""
    findings, malformed = Findings(), MalformedMessages(seed)
    encoded_files()  # made once, not while time is taken
    before_mb = peak_mb()
    signal.alarm(HANG_S)
    for number in range(count):
        start = time.process_time()
        try:
            KINDS[kind](malformed)
            findings.causes["taken"] += 1
        except OccFusionError as error:
            findings.causes[cause_of(error)] += 1
        except Exception as error:  # noqa: BLE001 - to be reported, whatever it is
            findings.failures.append(f"{kind}, seed {seed}, message {number}: {error!r:.300}")
        took = time.process_time() - start
        findings.slowest_s = max(findings.slowest_s, took)
        if took > SLOW_S:
            findings.failures.append(f"{kind}, seed {seed}, message {number}: took {took:.1f} s")
    signal.alarm(0)
    findings.peak_mb = peak_mb()
    if findings.peak_mb - before_mb > MOST_MB:
        findings.failures.append(f"{kind}, seed {seed}: {findings.peak_mb - before_mb:.0f} MB of memory")
    return findings


def peak_mb() -> float:
    """Megabytes, the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def fuzz_conversions(count: int, processes: int = 2, seed: int = 0) -> dict[str, Findings]:
    """At least `count` messages of all kinds, in processes whose end is noticed."""
    found = {kind: Findings() for kind in KINDS}
    with ProcessPoolExecutor(processes, initializer=_quiet) as pool:
        jobs = [
            (kind, number, pool.submit(fuzz_chunk, kind, number))
            for kind, share in SHARES.items()
            for number in range(seed, seed + -int(-count * share // CHUNK))
        ]
        for kind, number, job in jobs:
            try:
                found[kind].add(job.result())
            except BrokenProcessPool:
                found[kind].failures.append(f"{kind}, about seed {number}: the process died or hung")
    return found


def _quiet() -> None:
    """Throw away what decoders write to the standard error: a line for each damaged file."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def report(found: dict[str, Findings]) -> dict[str, Any]:
    """Findings by kind, as JSON."""
    return {
        kind: {
            "messages": sum(findings.causes.values()),
            "causes": dict(findings.causes.most_common()),
            "slowest_ms": round(1e3 * findings.slowest_s, 1),
            "peak_mb": round(findings.peak_mb),
            "failures": findings.failures,
        }
        for kind, findings in found.items()
    }


def main(argv: list[str] | None = None) -> int:
    """Command line entry point; 1 if anything happened that must not."""
    from .node import fuzz_node

    parser = parser_of("python -m benchmarks.fuzz", __doc__)
    parser.add_argument("--messages", type=int, default=160_000, help="through the conversions (default: 160000)")
    parser.add_argument("--node-messages", type=int, default=2300, help="through the running node (default: 2300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/fuzz.json"))
    options = parser.parse_args(argv)
    start = time.monotonic()
    found = report(fuzz_conversions(options.messages, seed=options.seed))
    node = fuzz_node(options.node_messages, options.seed)
    result = {
        "machine": processor(),
        "versions": versions("numpy", "opencv-python-headless", "pillow", "ros-rclpy"),
        "seed": options.seed,
        "seconds": round(time.monotonic() - start),
        "conversions": found,
        "node": node,
    }
    write_json(options.out, result)
    failures = [text for kind in found.values() for text in kind["failures"]] + node["failures"]
    total = sum(kind["messages"] for kind in found.values())
    print(
        f"{total} messages through the conversions, {node['malformed']} through the node, {len(failures)} failures, "
        f"{result['seconds']} s: {options.out}",
        *failures[:20],
        sep="\n",
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
