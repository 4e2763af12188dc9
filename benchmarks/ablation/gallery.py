"""Pictures of synthetic frames with truth and prediction side by side: `python -m benchmarks.ablation.gallery`.

The drives are held out: no training configuration uses their seeds.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from models.evaluation.nuscenes_frames import add_past_sweeps
from models.training.past import past_of_drive
from occfusion_ros.core.command import parser_of
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.core.past_sweeps import brought_to_present
from occfusion_ros.runtime.pipeline import Pipeline
from occfusion_ros.viz.birdseye import birds_eye_view
from occfusion_ros.viz.perspective import perspective_view
from synthetic import SyntheticDrive, SyntheticFrame, seeds

FRAME = 16  # 8 s into the drive
RENDER_SIZE = (396, 704)
COLUMN, GAP = 760, 10  # pixels
FRONT = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT")


def side_by_side(frame: SyntheticFrame, predictions: dict[str, OccupancyGrid]) -> Image.Image:
    """Front images above; below them truth on the left and predictions by title right of it, in 3D and from above."""
    shown = next(iter(predictions.values()))
    grids = {"truth": replace(shown, labels=frame.semantics), **predictions}
    by_name = {camera.name: camera.image for camera in frame.frame.cameras}
    front = Image.fromarray(np.hstack([by_name[name] for name in FRONT]))
    width = len(grids) * (COLUMN + GAP) - GAP
    scenes = {title: perspective_view(grid, OPENOCCUPANCY_CLASSES, (470, COLUMN)) for title, grid in grids.items()}
    maps = {title: birds_eye_view(grid, OPENOCCUPANCY_CLASSES) for title, grid in grids.items()}
    rows = [
        [front.resize((width, round(front.height * width / front.width)), Image.LANCZOS)],
        [_titled(Image.fromarray(view), title) for title, view in scenes.items()],
        [_titled(Image.fromarray(view).resize((COLUMN, COLUMN)), title) for title, view in maps.items()],
    ]
    return Image.fromarray(np.vstack([_strip(row) for row in rows]))


def predictions_of(
    pipeline: Pipeline, drive: SyntheticDrive, made: SyntheticFrame, sweeps: int
) -> dict[str, OccupancyGrid]:
    """Answers by title: of the frame alone and, where `sweeps` are wanted, with up to so many earlier ones."""
    predictions = {"prediction, 6 cameras + LiDAR": pipeline(made.frame)}
    if sweeps:
        ego_radius, rng = pipeline.contract.preprocessing.ego_radius, np.random.default_rng(drive.seed)
        past = past_of_drive(drive, FRAME, made, ego_radius, rng)[:sweeps]
        told = pipeline(replace(made.frame, past=brought_to_present(past)))
        predictions[f"and {len(past)} earlier sweeps of {past[-1].lag_s:.1f} s"] = told
    return predictions


def _titled(image: Image.Image, title: str) -> Image.Image:
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(18)
    draw.rectangle((0, 0, draw.textlength(title, font) + 16, 28), "#1c2028")
    draw.text((8, 3), title, "white", font)
    return image


def _strip(images: list[Image.Image]) -> np.ndarray:
    """Images of one height beside each other, with white between and below them."""
    padded = [np.pad(image, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for image in images]
    return np.hstack(padded)[:, :-GAP]


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = parser_of("python -m benchmarks.ablation.gallery", __doc__)
    parser.add_argument("--artifact", type=Path, default=Path("models/zoo/nano"), help="exported model (%(default)s)")
    parser.add_argument("--drives", type=int, default=3, help="pictures, one of each held-out drive (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder to write (%(default)s)")
    add_past_sweeps(parser)
    options = parser.parse_args(argv)
    pipeline = Pipeline.load(options.artifact)
    if pipeline.contract.grid != GridSpec():
        parser.error(f"expected a model of the grid of the synthetic truth, {GridSpec()}, got {pipeline.contract.grid}")
    if options.past_sweeps and not pipeline.contract.preprocessing.lags:
        parser.error(f"model {pipeline.contract.model_id} was not trained with earlier sweeps")
    name = "earlier_sweeps" if options.past_sweeps else "synthetic"
    options.out.mkdir(parents=True, exist_ok=True)
    for number in tqdm(range(options.drives), "pictures", unit="frame"):
        drive = SyntheticDrive(seeds.GALLERY[number], image_size=RENDER_SIZE)
        frame = drive.frame(FRAME)
        picture = side_by_side(frame, predictions_of(pipeline, drive, frame, options.past_sweeps))
        picture.save(options.out / f"{name}_{number + 1}.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    main()
