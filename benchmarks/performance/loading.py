"""How long the shipped model takes to load, and for a frame: `python -m benchmarks.performance.loading`.

Beside the backends stands PyTorch with the network's own code and weights.safetensors: what the torch backend's program
is compared with. Float32, one process each, six cameras that see noise.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

from occfusion_ros.core.frames import CameraImage, SensorFrame
from occfusion_ros.core.processor import this_processor
from occfusion_ros.runtime.artifact import NETWORKS, load_artifact
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.backends.registry import BACKENDS, unavailable_reason
from occfusion_ros.runtime.pipeline import Pipeline

NANO = Path(__file__).resolve().parents[2] / "models" / "zoo" / "nano"
FRAMES = 1  # after one to warm up
WEIGHTS = "weights"


def frame() -> SensorFrame:
    """A made-up sweep and six cameras all around."""
    rng, cameras = np.random.default_rng(0), []
    for number in range(6):
        c, s = np.cos(number * np.pi / 3), np.sin(number * np.pi / 3)
        camera_from_grid = np.array([[c, s, 0, 0], [0, 0, -1, 0], [-s, c, 0, 0], [0, 0, 0, 1]])
        cameras.append(
            CameraImage(
                str(number),
                rng.integers(0, 255, (256, 704, 3), np.uint8),
                np.array([[350.0, 0, 352], [0, 350, 70], [0, 0, 1]]),
                camera_from_grid,
            )
        )
    points = rng.uniform((-40, -40, -2, 0), (40, 40, 2, 1), (30_000, 4)).astype(np.float32)
    return SensorFrame(0, points, tuple(cameras))


def load(way: str) -> Pipeline:
    """The shipped model on a backend, or on PyTorch from its weights."""
    artifact = load_artifact(NANO)
    if way != WEIGHTS:
        settings = BackendSettings(precision="fp32")
        return Pipeline(artifact.contract, *(BACKENDS[way]().load(artifact, name, settings) for name in NETWORKS))
    from export.parity import eager_pipeline
    from occfusion_ros.network.checkpoint import load_checkpoint

    return eager_pipeline(load_checkpoint(NANO / "weights.safetensors")[0], artifact.contract)


def measure(way: str) -> str:
    """One line: seconds to load, with what is imported for it; median milliseconds of a frame."""
    start = time.perf_counter()
    pipeline = load(way)
    loaded, shown = time.perf_counter() - start, frame()
    pipeline(shown)
    times = [pipeline(shown).stage_ms["total"] for _ in range(FRAMES)]
    return f"| {way} | {loaded:.1f} | {median(times):.0f} |"


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = [*(name for name in BACKENDS if not unavailable_reason(name)), WEIGHTS]
    parser.add_argument("--only", choices=ways, help="this one, in this process")
    options = parser.parse_args(argv)
    if options.only:
        print(measure(options.only), flush=True)
        return 0
    print(f"{this_processor().name}\n| float32 | loading, s | frame, ms |\n| --- | --- | --- |", flush=True)
    for way in ways:
        subprocess.run([sys.executable, "-m", "benchmarks.performance.loading", "--only", way], check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
