"""Write synthetic drives as a data root in the nuScenes format: `python -m synthetic OUT`."""

import argparse
import sys
from pathlib import Path

from occfusion_ros.core.errors import OccFusionError

from .recording.root import Recording, write_nuscenes_root
from .sensors.rig import RIGS


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 on success, 1 when it could not be done."""
    parser = argparse.ArgumentParser(
        prog="synthetic", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder to write; frames that are there already are kept")
    parser.add_argument("--scenes", type=int, default=2, help="number of drives")
    parser.add_argument("--frames", type=int, default=8, help="key frames in each drive")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first drive; the next ones follow it")
    parser.add_argument("--hz", type=float, default=2.0, help="key frames per second")
    parser.add_argument("--rig", choices=list(RIGS), default="nuscenes", help="the vehicle's sensors")
    parser.add_argument(
        "--image-scale", type=float, default=1.0, help="of the rig's own images; calibration is scaled too"
    )
    parser.add_argument("--jpeg-quality", type=int, default=92, help="1 to 100")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    arguments = parser.parse_args(argv)
    try:
        recording = Recording(arguments.hz, arguments.image_scale, arguments.jpeg_quality, arguments.rig)
        write_nuscenes_root(
            arguments.out,
            arguments.scenes,
            arguments.frames,
            arguments.seed,
            recording,
            arguments.workers,
            not arguments.quiet,
        )
    except (OccFusionError, OSError) as error:
        print(f"synthetic: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
