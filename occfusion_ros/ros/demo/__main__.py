"""Run the real node on recorded drives and show what it publishes.

Without --data the drives are synthetic ones, made on the first run. With --data they are the scenes of a data root in
the nuScenes format. Each is converted to a bag, played to the node by processes of their own, and checked: every sweep
must get an occupancy message with the sweep's own stamp. Then the node plays the drive again and remembers it, and a
picture shows the last sweep answered alone and from memory. Pictures, bags and synthetic data are kept under --out.
"""

import argparse
import hashlib
import logging
import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.atomic import replacing, write_json, write_text
from ...core.command import failed, parser_of
from ...core.errors import DatasetError, OccFusionError
from ...core.labels import OPENOCCUPANCY_CLASSES
from ...core.processor import usable_cores
from ...core.shipped import shipped
from ...datasets.nuscenes import GRID_HEIGHT
from ..conversions.point_cloud import points_from_cloud
from ..node.parameters import NUSCENES_CAMERAS
from ..tools.snapshot import write_picture
from ..viewers.rerun_viewer import open_rerun
from ..without_ros.bag_reader import open_bag
from .replay import CLOUD, BagContents, Replay, read_contents, replay

SYNTHETIC_SCENES, SYNTHETIC_FRAMES = 2, 4
FULL_INTENSITIES = (1.0, 255.0, 65535.0)  # of drivers
RECORDING = "occupancy.rrd"  # of Rerun, where there is no display
UNSCALED = 65536.0  # by which intensities are divided and multiplied again: nothing is clipped
ROAD_RADIUS = 15.0  # metres, in which the lowest points are the road
VEHICLE_FRAME = {"grid_frame": "grid", "grid_in_base": "0 0 1.84 -1.5707963"}
PATIENCE = 4.0  # a second try, if the node left sweeps out, is so many times slower


@dataclass(frozen=True)
class Rig:
    """What the node must be told about a vehicle.

    Attributes:
        name: for people.
        cameras: names of its cameras, by which it is recognized.
        arguments: of the bring-up; files are named as they are shipped.
    """

    name: str
    cameras: frozenset[str]
    arguments: dict[str, str]


RIGS = (
    Rig("nuScenes", frozenset(NUSCENES_CAMERAS), {"params_file": "config/occfusion.yaml"}),
    Rig(
        "DDAD",
        frozenset(f"camera_{number:02d}" for number in (1, 5, 6, 7, 8, 9)),
        {"params_file": "config/ddad.yaml", **VEHICLE_FRAME},
    ),
    Rig("LiDAR only", frozenset(), {"params_file": "config/lidar_only.yaml"}),
)


def rig_of(contents: BagContents, points: np.ndarray, folder: Path) -> Rig:
    """The rig that recorded a bag: a known one, or else what the data says of it.

    Args:
        contents: of the bag.
        points: (N, 4) of a sweep, its intensities as they are recorded.
        folder: where the parameters of an unknown rig are written.
    """
    cameras = frozenset(contents.info_topics)
    for rig in RIGS:
        if rig.cameras == cameras:
            return rig
    values = {
        "lidar_topic": contents.lidar_topic,
        "cameras": sorted(cameras),
        "intensity_max": next(
            (full for full in FULL_INTENSITIES if points[:, 3].max(initial=0) <= full), FULL_INTENSITIES[-1]
        ),
    }
    file = folder / "rig.yaml"
    write_json(file, {"/**": {"ros__parameters": values}})  # which is YAML too
    near = points[np.linalg.norm(points[:, :2], axis=1) < ROAD_RADIUS, 2]
    on_road = bool(len(near)) and abs(np.percentile(near, 10)) < GRID_HEIGHT / 2  # z = 0 on the road: a vehicle frame
    return Rig(
        f"of its own ({len(cameras)} cameras, intensities to {values['intensity_max']:g}; {file})",
        cameras,
        {"params_file": str(file), **(VEHICLE_FRAME if on_road else {})},
    )


def _first_points(bag: Path) -> np.ndarray:
    """(N, 4) of a bag's first sweep, intensities as they are recorded."""
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import PointCloud2

    with open_bag(bag) as reader:
        clouds = [connection for connection in reader.connections if connection.msgtype == CLOUD]
        raw = next((data for _, _, data in reader.messages(clouds)), None)
    if raw is None:
        raise DatasetError(f"{bag} has no sweep")
    return points_from_cloud(deserialize_message(bytes(raw), PointCloud2), UNSCALED) * [1, 1, 1, UNSCALED]


def make_bags(options: argparse.Namespace) -> list[Path]:
    """Bags of the wanted scenes; those that are there already are kept."""
    from ...datasets.nuscenes import NuScenesReader
    from ..tools.nuscenes_to_bag import convert_scene

    root = options.data or _synthetic_root(options.out)
    folder = _bag_folder(root, options.out) if options.data else root / "bags"
    listing = folder / "scenes.txt"
    if not listing.exists():
        scenes = NuScenesReader(root, options.version).scenes()
        write_text(listing, "\n".join(scenes))
    scenes = options.scenes or listing.read_text().split("\n")
    missing = [scene for scene in scenes if not (folder / scene).exists()]
    reader = NuScenesReader(root, options.version) if missing else None
    for scene in missing:
        if absent := reader.without_files(scene):
            print(f"left out {scene}: none of its files is there, first: {absent}")
        else:
            convert_scene(reader, scene, folder)
    bags = [folder / scene for scene in scenes if (folder / scene).exists()]
    if not bags:
        raise DatasetError(f"{root} has no files of {', '.join(scenes)}")
    return bags


def _bag_folder(root: Path, out: Path) -> Path:
    """A folder of its own for each state of a data root."""
    tables = b"".join(path.read_bytes() for name in ("scene", "sample") for path in sorted(root.glob(f"*/{name}.json")))
    return out / "bags" / hashlib.sha256(str(root.resolve()).encode() + tables).hexdigest()[:12]


def _synthetic_root(out: Path) -> Path:
    try:
        from synthetic import seeds, write_nuscenes_root
    except ModuleNotFoundError as error:
        raise DatasetError("synthetic drives are made in a checkout (make demo); elsewhere give --data ROOT") from error
    root = out / "synthetic"
    write_nuscenes_root(root, SYNTHETIC_SCENES, SYNTHETIC_FRAMES, seeds.DEMO.start, workers=usable_cores())
    return root


def run_scene(bag: Path, options: argparse.Namespace) -> bool:
    """Replay one bag, print what came out and draw pictures; whether every sweep got its answer."""
    rig = rig_of(read_contents(bag), _first_points(bag), options.out / bag.name)
    print(f"\n=== {bag.name}: rig {rig.name}", flush=True)
    file = Path(rig.arguments["params_file"])
    arguments = {
        **rig.arguments,
        "params_file": str(file.resolve() if file.is_file() else shipped(str(file))),
        "model": options.model,
        "backend": options.backend,
    }
    folder = options.out / bag.name
    outcome = _replay(bag, arguments, options, view=options.view)
    print("\n".join(report(outcome)), flush=True)
    for answer in list(outcome.answers.values())[: options.pictures]:
        print(f"picture         {write_picture(answer, outcome.classes, folder)}", flush=True)
    if options.memory == "none" or len(outcome.answers) < 2 or outcome.faults():
        return not outcome.faults()
    remembering = _replay(bag, with_memory(arguments, options.memory, folder), options)
    if common := sorted(set(outcome.answers) & set(remembering.answers)):
        print(f"memory          {write_comparison(outcome, remembering, common[-1], folder)}", flush=True)
    for fault in remembering.faults():
        print(f"FAULT           with memory: {fault}", flush=True)
    return not remembering.faults()


def _replay(bag: Path, arguments: dict[str, str], options: argparse.Namespace, view: bool = False) -> Replay:
    """Replay a bag, and once more with more time where the node left sweeps out; shown in Rerun where it is wanted."""
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    file = None if display else options.out / bag.name / RECORDING

    def once(seconds_per_sweep: float) -> Replay:
        with open_rerun(file) if view else nullcontext() as show:
            return replay(bag, arguments, seconds_per_sweep, show)

    outcome = once(options.seconds_per_sweep)
    if outcome.faults():
        print(f"the node left sweeps out; trying again {PATIENCE:g} times slower", flush=True)
        outcome = once(PATIENCE * options.seconds_per_sweep)
    return outcome


def with_memory(arguments: dict[str, str], memory: str, folder: Path) -> dict[str, str]:
    """Arguments of a node that remembers in the map: its parameters are written to a file in a folder."""
    import yaml

    values = yaml.safe_load(Path(arguments["params_file"]).read_text())["/**"]["ros__parameters"]
    file = folder / "memory.yaml"
    write_json(file, {"/**": {"ros__parameters": {**values, "memory": memory, "fixed_frame": "map"}}})
    return {**arguments, "params_file": str(file.resolve())}


def write_comparison(alone: Replay, remembering: Replay, stamp: int, folder: Path) -> Path:
    """Draw the answers to one sweep, given alone and from memory, beside each other."""
    from PIL import Image

    from ...viz.picture import comparison_picture

    classes = alone.classes or OPENOCCUPANCY_CLASSES
    path = folder / "memory.png"
    replays = {"the sweep alone": alone, "with all before it": remembering}
    grids = {caption: each.answers[stamp].decoded()[0] for caption, each in replays.items()}
    with replacing(path) as partial_file:
        Image.fromarray(comparison_picture(grids, classes)).save(partial_file, "PNG")
    return path


def report(outcome: Replay) -> list[str]:
    """What was published, line by line."""
    faults = outcome.faults()
    span = outcome.arrivals[-1] - outcome.arrivals[0] if outcome.arrivals else 0.0
    rate = f"{(len(outcome.arrivals) - 1) / span:.2f} Hz" if span else "n/a with fewer than two"
    cameras = [len(answer.message.cameras) for answer in outcome.answers.values()]
    fewest, most = min(cameras, default=0), max(cameras, default=0)
    lines = [
        f"sweeps in       {len(outcome.contents.sweeps)}",
        f"occupancy out   {len(outcome.answers)}, {rate}",
        f"cameras used    {fewest} to {most} of {len(outcome.contents.info_topics)}",
    ]
    lines += [f"stage {stage:<12} {np.mean(times):8.1f} ms" for stage, times in outcome.stage_ms.items() if times]
    lines += _voxel_lines(outcome)
    return lines + (
        [f"FAULT           {fault}" for fault in faults]
        or ["checked         every sweep got an answer with its own stamp, in the frame it should have"]
    )


def _voxel_lines(outcome: Replay) -> list[str]:
    """Mean number of voxels of each class that occurs."""
    if not outcome.answers:
        return []
    counts = np.mean(
        [
            np.bincount(np.frombuffer(answer.message.data, np.uint8), minlength=256)
            for answer in outcome.answers.values()
        ],
        axis=0,
    )
    classes = outcome.classes or OPENOCCUPANCY_CLASSES
    return [f"voxels          {counts[c.label]:10.0f}  {c.name}" for c in classes if counts[c.label]]


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("python -m occfusion_ros.ros.demo", __doc__)
    parser.add_argument("--data", type=Path, help="data root in the nuScenes format (default: synthetic drives)")
    parser.add_argument("--version", help="the tables' folder, such as v1.0-mini (default: the only one there is)")
    parser.add_argument("--scenes", nargs="+", metavar="NAME", help="scenes to run (default: all)")
    parser.add_argument("--model", default="", help="artifact folder or name of a shipped model (default: configured)")
    parser.add_argument(
        "--backend", default="", help="inference backend (default: configured, which is the fastest that runs here)"
    )
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for everything (default: out/demo)")
    parser.add_argument(
        "--memory", default="short", choices=("none", "short", "long"), help="of a second replay (default: short)"
    )
    parser.add_argument(
        "--view", action="store_true", help="show the first replay in Rerun, or write it for Rerun without a display"
    )
    parser.add_argument("--pictures", type=int, default=3, metavar="N", help="pictures of each scene (default: 3)")
    parser.add_argument(
        "--seconds-per-sweep",
        type=float,
        default=2.5,
        metavar="S",
        help="time the node is given for a sweep; bags are played no faster (default: 2.5)",
    )
    parser.add_argument(
        "--domain", type=int, default=1 + os.getpid() % 101, help="ROS domain to run in (default: one of its own)"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Command line entry point; 0 when every sweep of every scene got its answer."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # Nothing of this must reach, or be reached by, other nodes.
    os.environ.update(ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST", ROS_DOMAIN_ID=str(options.domain))
    try:
        results = {bag.name: run_scene(bag, options) for bag in make_bags(options)}
    except KeyboardInterrupt:
        return 130
    except (OccFusionError, ImportError, OSError) as error:
        return failed(error)
    bad = [name for name, good in results.items() if not good]
    print(
        f"\n{len(results) - len(bad)} of {len(results)} scenes: every sweep answered"
        + (f"; not so: {', '.join(bad)}" if bad else "")
        + f". Pictures are in {options.out}."
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
