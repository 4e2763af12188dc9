"""Measure what it takes to show an answer in RViz: `python -m benchmarks.boxes DATA_ROOT...` prints a table.

A voxel could be shown as a cube, with others as a box, or by the triangles of its faces. What RViz makes of a list of
boxes or of triangles is known from its sources: of a box one point or, without geometry shaders, 36 vertices; of a face
6 vertices with normals.
"""

import sys
import time
from pathlib import Path

import numpy as np

from models.evaluation.nuscenes_frames import NuScenesFrames
from occfusion_ros.core.command import failed, parser_of
from occfusion_ros.core.errors import OccFusionError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import EMPTY, IGNORE, SemanticClass
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.runtime.pipeline import Pipeline

from .machine import processor
from .markdown import table

MOST = 50_000  # whose reach is told
REPEATS = 7
FACE_BYTES = 6 * 24  # two triangles of a TRIANGLE_LIST
HEAD = [
    "frame",
    "voxels to be seen",
    "boxes",
    "lists",
    f"reach of {MOST:,} cubes, m",
    f"of {MOST:,} boxes, m",
    "MB as cubes",
    "as boxes",
    "as faces",
    "ms to build",
]


def row(labels: np.ndarray, spec: GridSpec, classes: tuple[SemanticClass, ...]) -> list[str]:
    """Give the figures of (X, Y, Z) uint8 labels, as in `HEAD` after the first."""
    from std_msgs.msg import Header

    from occfusion_ros.ros.conversions.markers import LONGEST, marker_bytes
    from occfusion_ros.ros.conversions.occupied_voxels import OccupiedVoxels

    voxels = OccupiedVoxels.of(labels, spec)
    seen = voxels.exposed
    boxes, lengths = seen.runs(LONGEST)
    times = []
    for _ in range(REPEATS):
        start = time.thread_time()  # other work on the machine does not count
        message = marker_bytes(Header(), voxels, classes, max_boxes=spec.num_voxels)
        times.append((time.thread_time() - start) * 1e3)
    as_cubes = len(message) + 24 * (len(seen.flat) - len(boxes.flat))
    return [
        f"{len(seen.flat):,}",
        f"{len(boxes.flat):,}",
        f"{len(np.unique(boxes.labels.astype(int) * LONGEST + lengths))}",
        reach(seen.centers()),
        reach(boxes.centers()),
        *(f"{size / 1e6:.2f}" for size in (as_cubes, len(message), FACE_BYTES * faces(labels))),
        f"{np.median(times):.0f}",
    ]


def reach(centers: np.ndarray) -> str:
    """Tell how far from the origin, in metres, the nearest `MOST` of (N, 3) centers reach."""
    if len(centers) <= MOST:
        return "all"
    return f"{np.partition(np.linalg.norm(centers, axis=1), MOST)[MOST]:.0f}"


def faces(labels: np.ndarray) -> int:
    """Count the faces between an occupied voxel and one that is not, or the border."""
    solid = np.pad((labels != EMPTY) & (labels != IGNORE), 1)
    return sum(int(np.count_nonzero(np.diff(solid, axis=axis))) for axis in range(3))


def main(argv: list[str] | None = None) -> int:
    """Command line entry point."""
    parser = parser_of("python -m benchmarks.boxes", __doc__)
    parser.add_argument("roots", type=Path, nargs="+", help="data roots in nuScenes' format; first frames of scenes")
    parser.add_argument("--artifact", default="nano", help="model (default: nano)")
    options = parser.parse_args(argv)
    try:
        pipeline, rows = Pipeline.load(options.artifact), []
        for root in options.roots:
            reader = NuScenesReader(root)
            frames = NuScenesFrames(reader)
            for scene in reader.scenes():
                answer = pipeline(frames.frame(scene, next(iter(reader.samples(scene)))))
                rows.append([scene, *row(answer.labels, answer.spec, pipeline.contract.classes)])
    except OccFusionError as error:
        return failed(error)
    print(*table(HEAD, rows), "", f"{options.artifact}, {processor()}", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
