"""One picture that says what a frame became: 3D view, camera images, bird's-eye view, legend and facts."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..core.frames import OccupancyGrid
from ..core.labels import EMPTY, IGNORE, SemanticClass
from .birdseye import birds_eye_view
from .perspective import View, perspective_view, unavailable_reason
from .voxels import UNKNOWN_CLASS_RGB

GAP, MARGIN, HEADER = 12, 24, 84
SCENE_WIDTH = 1160  # of the 3D view; as high as the map, or higher where there are no camera images
MAP_SIZE = 680  # height and width of the bird's-eye view
CAMERA_COLUMNS = 3
PAPER, INK, FAINT, MISSING = (255, 255, 255), (28, 32, 40), (110, 118, 130), (238, 240, 243)


def frame_picture(
    grid: OccupancyGrid, classes: tuple[SemanticClass, ...], images: Mapping[str, np.ndarray], view: View = View()
) -> np.ndarray:
    """Draw a frame.

    Args:
        grid: the occupancy.
        classes: names and colors of its labels.
        images: (H, W, 3) uint8 RGB by camera name, in the order in which they are drawn, three to a row.
        view: where the 3D view is taken from; where nothing can draw it, its place says why.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    legend, strip = _legend(grid, classes), _camera_strip(images)
    below = HEADER + MAP_SIZE + GAP
    height = below + max(legend.height, strip.height if strip else 0)
    scene = _scene(grid, classes, ((below - GAP if strip else height) - HEADER, SCENE_WIDTH), view)
    page = Image.new("RGB", (2 * MARGIN + SCENE_WIDTH + GAP + MAP_SIZE, height + MARGIN), PAPER)
    _title(ImageDraw.Draw(page), grid)
    page.paste(scene, (MARGIN, HEADER))
    page.paste(_map_panel(grid, classes), (MARGIN + SCENE_WIDTH + GAP, HEADER))
    page.paste(legend, (MARGIN + SCENE_WIDTH + GAP, below))
    if strip:
        page.paste(strip, (MARGIN, below))
    return np.asarray(page)


def comparison_picture(grids: Mapping[str, OccupancyGrid], classes: tuple[SemanticClass, ...]) -> np.ndarray:
    """Draw answers to one frame beside each other, from above; (height, width, 3) uint8 RGB.

    Args:
        grids: by what is written on each.
        classes: names and colors of the labels.
    """
    page = Image.new("RGB", (2 * MARGIN + len(grids) * (MAP_SIZE + GAP) - GAP, HEADER + MAP_SIZE + MARGIN), PAPER)
    _title(ImageDraw.Draw(page), next(iter(grids.values())))
    for i, (caption, grid) in enumerate(grids.items()):
        occupied = np.count_nonzero((grid.labels != EMPTY) & (grid.labels != IGNORE))
        panel = _map_panel(grid, classes, f"{caption}: {occupied:,} occupied voxels")
        page.paste(panel, (MARGIN + i * (MAP_SIZE + GAP), HEADER))
    return np.asarray(page)


def _scene(grid: OccupancyGrid, classes: tuple[SemanticClass, ...], size: tuple[int, int], view: View) -> Image.Image:
    reason = unavailable_reason()
    if not reason:
        return Image.fromarray(perspective_view(grid, classes, size, view))
    panel = Image.new("RGB", size[::-1], MISSING)
    _tag(ImageDraw.Draw(panel), reason)
    return panel


def _font(size: int) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1 has no scalable font of its own
        return ImageFont.truetype("DejaVuSans.ttf", size)


def _title(draw: ImageDraw.ImageDraw, grid: OccupancyGrid) -> None:
    draw.text((MARGIN, 16), "Semantic occupancy", INK, _font(30))
    cameras = f"{len(grid.cameras)} camera{'s' * (len(grid.cameras) != 1)} + LiDAR" if grid.cameras else "LiDAR only"
    facts = (
        f"model {grid.model_id or 'unknown'}    {cameras}    frame {grid.frame_id}    "
        f"stamp {grid.stamp_ns // 10**9}.{grid.stamp_ns % 10**9:09d} s"
    )
    draw.text((MARGIN, 54), facts, FAINT, _font(18))


def _camera_strip(images: Mapping[str, np.ndarray]) -> Image.Image | None:
    """The camera images in rows of three, as wide as the 3D view, each with its name."""
    if not images:
        return None
    width = (SCENE_WIDTH - (CAMERA_COLUMNS - 1) * GAP) // CAMERA_COLUMNS
    height = round(width * max(image.shape[0] / image.shape[1] for image in images.values()))
    rows = -(-len(images) // CAMERA_COLUMNS)
    strip = Image.new("RGB", (SCENE_WIDTH, rows * (height + GAP) - GAP), PAPER)
    for i, (name, image) in enumerate(images.items()):
        tile = Image.fromarray(image).resize((width, round(width * image.shape[0] / image.shape[1])), Image.BOX)
        _tag(ImageDraw.Draw(tile), name)
        strip.paste(tile, (i % CAMERA_COLUMNS * (width + GAP), i // CAMERA_COLUMNS * (height + GAP)))
    return strip


def _tag(draw: ImageDraw.ImageDraw, text: str) -> None:
    font = _font(16)
    draw.rectangle((0, 0, draw.textlength(text, font) + 16, 25), INK)
    draw.text((8, 3), text, PAPER, font)


def _map_panel(
    grid: OccupancyGrid, classes: tuple[SemanticClass, ...], caption: str = "from above, forward is up"
) -> Image.Image:
    """The bird's-eye view with the vehicle, a scale bar and a caption."""
    flat = birds_eye_view(grid, classes)
    scale = MAP_SIZE / max(flat.shape[:2])
    size = (round(flat.shape[1] * scale), round(flat.shape[0] * scale))
    resample = Image.LANCZOS if scale < 1 else Image.NEAREST if scale > 3 else Image.BOX
    panel = Image.new("RGB", (MAP_SIZE, MAP_SIZE), PAPER)
    panel.paste(Image.fromarray(flat).resize(size, resample))
    draw = ImageDraw.Draw(panel)
    pixels_per_meter = scale / grid.spec.voxel_size
    _vehicle(draw, -grid.spec.low[0] * pixels_per_meter, grid.spec.high[1] * pixels_per_meter, pixels_per_meter)
    _scale_bar(draw, size[1] - 18, pixels_per_meter)
    _tag(draw, caption)
    return panel


def _vehicle(draw: ImageDraw.ImageDraw, x: float, y: float, scale: float) -> None:
    """An arrowhead at the origin of the grid frame that points forward."""
    outline = [(0, -3.2), (1.5, 2.2), (0, 1.2), (-1.5, 2.2)]
    draw.polygon([(x + dx * scale, y + dy * scale) for dx, dy in outline], INK, PAPER)


def _scale_bar(draw: ImageDraw.ImageDraw, y: float, pixels_per_meter: float) -> None:
    metres = max(m for m in (0.5, 1, 2, 5, 10, 20, 50) if m * pixels_per_meter <= MAP_SIZE / 3 or m == 0.5)
    draw.rectangle((14, y - 32, 14 + metres * pixels_per_meter + 20, y + 10), PAPER)
    draw.line((24, y, 24 + metres * pixels_per_meter, y), INK, 4)
    draw.text((24, y - 28), f"{metres:g} m", INK, _font(16))


def _legend(grid: OccupancyGrid, classes: tuple[SemanticClass, ...]) -> Image.Image:
    """Classes present with their colors and voxel counts, then the stage times."""
    counts = np.bincount(grid.labels.ravel(), minlength=256)
    rows = [(c.name.replace("_", " "), c.rgb, counts[c.label]) for c in classes if counts[c.label]]
    nameless = set(np.flatnonzero(counts)) - {EMPTY, IGNORE, *(c.label for c in classes)}
    rows += [(f"label {label}", UNKNOWN_CLASS_RGB, counts[label]) for label in sorted(nameless)]
    lines = -(-len(rows) // 2)
    panel = Image.new("RGB", (MAP_SIZE, lines * 32 + 92), PAPER)
    draw = ImageDraw.Draw(panel)
    draw.text((0, 0), f"{sum(row[2] for row in rows):,} occupied voxels of {grid.spec.voxel_size:g} m", INK, _font(20))
    for i, row in enumerate(sorted(rows, key=lambda row: -row[2])):
        _legend_row(draw, i // lines * (MAP_SIZE // 2 + 10), 38 + i % lines * 32, *row)
    if grid.stage_ms:
        times = "    ".join(f"{stage} {value:.0f} ms" for stage, value in grid.stage_ms.items())
        draw.text((0, 48 + lines * 32), times, FAINT, _font(16))
    return panel


def _legend_row(draw: ImageDraw.ImageDraw, x: int, y: int, name: str, rgb: tuple, count: int) -> None:
    draw.rounded_rectangle((x, y, x + 34, y + 22), 4, tuple(rgb), FAINT)
    draw.text((x + 46, y), name, INK, _font(18))
    text = f"{count:,}"
    draw.text((x + 320 - draw.textlength(text, _font(18)), y), text, FAINT, _font(18))
