"""Measure what it costs to write voxels for Rerun and Foxglove, form by form: processor time and bytes of an answer.

The voxels are drawn at random from a ground of rough height with blocks on it: as many as are asked for.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from occfusion_ros.core.command import parser_of
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES, Label
from occfusion_ros.ros.conversions.cells import cells_of
from occfusion_ros.ros.conversions.coloring import class_colors
from occfusion_ros.ros.conversions.occupied_voxels import OccupiedVoxels
from occfusion_ros.ros.viewers.foxglove_web import FoxgloveLog
from occfusion_ros.ros.viewers.rerun_viewer import RerunLog
from occfusion_ros.ros.viewers.scene import Scene

from .machine import processor, versions


def street(count: int, seed: int = 0) -> Scene:
    """A scene of `count` voxels and nothing else."""
    rng, spec = np.random.default_rng(seed), GridSpec()
    labels = np.zeros(spec.size, np.uint8)
    height = 14 + (rng.random(spec.size[:2]) < 0.3)
    ground = rng.choice([Label.DRIVEABLE_SURFACE, Label.SIDEWALK, Label.TERRAIN], (16, 16)).repeat(32, 0).repeat(32, 1)
    np.put_along_axis(labels, height[..., None], ground[..., None].astype(np.uint8), 2)
    for x, y in rng.integers(0, spec.size[0] - 12, (200, 2)):
        labels[x : x + 10, y : y + 10, 15:23] = rng.integers(1, 17)
    occupied = OccupiedVoxels.of(labels, spec)
    labels[labels > 0] = 0
    kept = np.sort(rng.permutation(len(occupied.flat))[:count])
    labels[tuple(spec.unflatten_x_fastest(occupied.flat[kept]).T)] = occupied.labels[kept]
    voxels = OccupiedVoxels.of(labels, spec)
    colors = class_colors(OPENOCCUPANCY_CLASSES)[voxels.labels]
    grid = OccupancyGrid(spec, labels, 1, "lidar_top")
    return Scene(grid, OPENOCCUPANCY_CLASSES, voxels, colors, np.zeros((0, 4), np.float32), {}, {})


def rerun_forms(scene: Scene) -> dict[str, Callable[[Any], None]]:
    """Ways to log the voxels to a ``rerun.RecordingStream``, all of them as one entity but the viewer's own."""
    import rerun as rr

    indices, edge = scene.grid.spec.unflatten_x_fastest(scene.voxels.flat), scene.grid.spec.voxel_size
    centers, sizes = scene.voxels.centers(), [[edge / 2] * 3]
    maps = {"voxel_size": [edge] * 3, "translation": scene.grid.spec.low, "colors": scene.colors}
    return {
        "VoxelGridMap": lambda to: to.log("v", rr.VoxelGridMap(indices, **maps)),
        "Boxes3D": lambda to: to.log(
            "v", rr.Boxes3D(centers=centers, half_sizes=sizes, colors=scene.colors, fill_mode="solid")
        ),
        "Points3D": lambda to: to.log("v", rr.Points3D(centers, radii=edge / 2, colors=scene.colors)),
    }


def measured(write: Callable[[], None], end: Callable[[], None], file: Path, rounds: int) -> tuple[float, float]:
    """Milliseconds of processor time, of all threads, and megabytes in the file for each of some answers."""
    begin = time.process_time()
    for _ in range(rounds):
        write()
    end()
    return (time.process_time() - begin) / rounds * 1e3, file.stat().st_size / rounds / 1e6


def measure(scene: Scene, rounds: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Costs by form, see `measured`."""
    import foxglove

    costs = {}
    forms = {f"Rerun, {name}": form for name, form in rerun_forms(scene).items()}
    for i, (name, form) in enumerate({**forms, "Rerun, VoxelGridMap by class, with counts": None}.items()):
        log = RerunLog()
        log.recording.save(folder / f"{i}.rrd")
        write = (lambda log=log: log.write(scene)) if form is None else (lambda form=form, log=log: form(log.recording))
        write()  # what is imported late
        costs[name] = measured(write, lambda log=log: log.recording.flush(), folder / f"{i}.rrd", rounds)
    for merge in (1, 2):
        log, file = FoxgloveLog(merge=merge), folder / f"{merge}.mcap"
        writer = foxglove.open_mcap(file, context=log.context)
        size = cells_of(scene.voxels, scene.colors, merge=merge).values.nbytes
        name = f"Foxglove, {size / 1e6:.1f} MB of cells, merged by {merge}"
        costs[name] = measured(lambda log=log: log.write(scene), writer.close, file, rounds)
    return costs


def main(argv: list[str] | None = None) -> int:
    """Command line entry point."""
    parser = parser_of("python -m benchmarks.viewers", __doc__)
    parser.add_argument("--voxels", type=int, default=150_000, help="how many (default: 150000)")
    parser.add_argument("--answers", type=int, default=10, help="that are written of each form (default: 10)")
    options = parser.parse_args(argv)
    scene = street(options.voxels)
    print(f"{len(scene.voxels.flat):,} voxels; {processor()}; {versions('rerun-sdk', 'foxglove-sdk')}\n")
    print("| form | ms of processor time | MB in the file |\n|---|---|---|")
    with TemporaryDirectory() as folder:
        for name, (milliseconds, megabytes) in measure(scene, options.answers, Path(folder)).items():
            print(f"| {name} | {milliseconds:.0f} | {megabytes:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
