"""What a synthetic frame costs: `python -m benchmarks.performance.generation`.

Processor time of one core for each rig, with images at the cameras' own size and at the size that training renders.
"""

import statistics
import time

import torch
from tqdm import tqdm

from models.training.prepare import SPACING
from occfusion_ros.core.command import parser_of
from synthetic import SyntheticDrive, seeds
from synthetic.sensors.rig import RIGS

from ..ablation.variants import MODEL
from ..machine import processor


def frame_seconds(rig: str, image_size: tuple[int, int] | None, drives: int, frames: int) -> list[float]:
    """Processor seconds of every frame: sweep, images and truth.

    Args:
        rig: a name of `RIGS`. image_size: (height, width) of the images, None for the rig's own.
        drives, frames: drives, and frames of each, as far apart as in training.
    """
    seconds = []
    for seed in tqdm(seeds.GENERATION[:drives], f"{rig} rig", unit="drive"):
        drive = SyntheticDrive(seed, RIGS[rig](), image_size)
        for number in range(1, frames + 1):
            start = time.process_time()
            drive.frame(number * SPACING)
            seconds.append(time.process_time() - start)
    return seconds


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m benchmarks.performance.generation", __doc__)
    parser.add_argument("--drives", type=int, default=6, help="drives of each rig (%(default)s)")
    parser.add_argument("--frames", type=int, default=4, help="frames of each drive (%(default)s)")
    options = parser.parse_args(argv)
    if options.drives < 1 or options.frames < 1:
        parser.error(f"expected at least 1 drive and frame, got {options.drives} and {options.frames}")
    torch.set_num_threads(1)
    lines = []
    for rig in RIGS:
        for name, size in (("training's", MODEL.presample.image_size), ("its own", None)):
            seconds = frame_seconds(rig, size, options.drives, options.frames)
            lines.append(
                f"{rig} rig, images at {name} size: median {statistics.median(seconds):.2f} s a frame, "
                f"mean {statistics.fmean(seconds):.2f} s, largest {max(seconds):.2f} s"
            )
    print("\n".join([*lines, f"processor time, one core; {processor()}"]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
