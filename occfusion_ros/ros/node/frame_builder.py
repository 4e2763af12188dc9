"""From paired messages to the sensor frame that the pipeline takes."""

import time
from collections import Counter
from collections.abc import Callable, Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from ...core.ego_box import EgoBox
from ...core.errors import InvalidFrameError
from ...core.frames import CameraImage, ImageMask, SensorFrame
from ...core.processor import usable_cores
from ..conversions.camera_info import Calibration
from ..conversions.image import rgb_from_compressed, rgb_from_image
from ..conversions.stamps import NS_PER_S, frame_of, stamp_ns
from ..transforms.buffer import TransformBuffer
from ..transforms.tree import TransformError
from .camera_masks import check_mask
from .parameters import NodeParameters
from .sweep_reader import Lookup, SweepReader

RETRY_S = 0.005
MAX_GIVEN_UP = 64


class FrameBuilder:
    """Converts a sweep and its images, and brings both into the grid frame.

    A sweep that cannot be used raises; a camera that cannot be used is left out and reported. Images are unpacked in
    parallel.
    """

    def __init__(
        self,
        transforms: TransformBuffer,
        calibrations: dict[str, Calibration],
        masks: Mapping[str, ImageMask],
        now_ns: Callable[[], int],
        on_fault: Callable[[str, Exception], None],
        on_deskew: Callable[[str], None],
    ) -> None:
        """
        Args:
            transforms: where poses come from.
            calibrations: by camera; the caller keeps it up to date.
            masks: by camera, what is hidden from it.
            now_ns: nanoseconds on the clock by which late transforms are waited for.
            on_fault: called with a cause and the error for each camera or cloud that is left out; from any thread.
            on_deskew: called with a line for the log when deskewing begins or ends.
        """
        self._transforms, self._calibrations, self._masks = transforms, calibrations, masks
        self._now_ns, self._on_fault = now_ns, on_fault
        self._sweeps = SweepReader(on_fault, on_deskew)
        self._given_up: set[tuple[str, str]] = set()  # pairs of frames that were waited for in vain
        self._jumps = 0  # times that the clock was set back
        self._decoders = ThreadPoolExecutor(usable_cores(), "decode")
        self._unpacked: dict[str, tuple[Image | CompressedImage, np.ndarray]] = {}  # by camera, the last one

    @property
    def deskew(self) -> dict[str, str]:
        """By topic, whether points are brought to the sweep's stamp, and if not, why."""
        return dict(self._sweeps.deskew)

    def build(
        self,
        clouds: Mapping[str, PointCloud2],
        images: Mapping[str, Image | CompressedImage],
        parameters: NodeParameters,
    ) -> SensorFrame:
        """The frame of a sweep and the images, by camera, that belong to it.

        Args:
            clouds: by topic; the first gives the sweep its stamp and, where no other is named, its frame.

        Raises:
            InvalidFrameError: an unusable sweep. TransformError: no pose of the sweep, or of the ego box, in the grid
                frame.
        """
        header = next(iter(clouds.values())).header
        stamp, grid_frame = stamp_ns(header), parameters.grid_frame or frame_of(header)
        lookup = self._patient_lookup(parameters.max_wait_s)
        sweep = self._sweeps.read(clouds, grid_frame, parameters, lookup)

        def pose(image: Image | CompressedImage) -> np.ndarray:
            return camera_from_grid(image.header, grid_frame, stamp, parameters.fixed_frame, lookup)

        frames = Counter(image.header.frame_id for image in images.values())
        shared = {name for name, count in frames.items() if count > 1}
        use = partial(self._camera, pose, shared)
        cameras = tuple(filter(None, self._decoders.map(use, *zip(*images.items()))))
        frame = SensorFrame(
            stamp,
            sweep.points,
            cameras,
            grid_frame,
            ray_origins=sweep.ray_origins,
            origin_of_point=sweep.origin_of_point,
        )
        return _without_body(frame, parameters, lookup) if parameters.ego_box else frame

    def fixed_from_grid(self, frame: SensorFrame, parameters: NodeParameters) -> np.ndarray:
        """(4, 4) from the grid to the fixed frame at the sweep's stamp, which is waited for as others are.

        Raises:
            TransformError: it is not known.
        """
        lookup = self._patient_lookup(parameters.max_wait_s)
        return lookup(parameters.fixed_frame, frame.frame_id, frame.stamp_ns)

    def start_over(self) -> None:
        """Time was set back: only static transforms still hold, and what the frame in work waits for will not come."""
        self._jumps += 1  # first, so that whoever misses a transform for it knows
        self._transforms.clear()

    def close(self) -> None:
        """End the decoding threads."""
        self._decoders.shutdown()

    def _camera(
        self,
        pose: Callable[[Image | CompressedImage], np.ndarray],
        shared: Container[str],
        name: str,
        image: Image | CompressedImage,
    ) -> CameraImage | None:
        """One camera, which may share its frame with another; None, reported, where it cannot be used."""
        try:
            camera_from_grid, calibration = pose(image), self._calibrations.get(name)
            if calibration is None:
                raise InvalidFrameError(f"camera {name}: no valid calibration")
            pixels = self._pixels(name, image, calibration.size)
            calibration.check(pixels)
            camera_from_grid = calibration.ideal_from_frame(image.header.frame_id in shared) @ camera_from_grid
            if mask := self._masks.get(name):
                check_mask(mask, calibration.size)
            return CameraImage(name, pixels, calibration.intrinsics, camera_from_grid, calibration.lens, mask)
        except (InvalidFrameError, TransformError) as error:
            self._on_fault(f"{'transform' if isinstance(error, TransformError) else 'image'} {name}", error)
            return None

    def _pixels(self, name: str, image: Image | CompressedImage, size: tuple[int, int]) -> np.ndarray:
        """Pixels of a camera's image, unpacked once: sweeps that come faster than images share them."""
        last, pixels = self._unpacked.get(name, (None, None))
        if last is not image:
            pixels = rgb_from_image(image) if isinstance(image, Image) else rgb_from_compressed(image, size)
            self._unpacked[name] = image, pixels
        return pixels

    def _patient_lookup(self, max_wait_s: float) -> Lookup:
        """A lookup that waits for transforms that are late, all of one frame together at most `max_wait_s`.

        Frames that were waited for in vain are not waited for again until their transform is there.
        """
        jumps, deadline_ns = self._jumps, self._now_ns() + round(max_wait_s * NS_PER_S)

        def lookup(target_frame: str, source_frame: str, stamp: int) -> np.ndarray:
            pair = (target_frame, source_frame)
            while True:
                try:
                    found = self._transforms.lookup(target_frame, source_frame, stamp)
                    self._given_up.discard(pair)
                    return found
                except TransformError as error:
                    if jumps != self._jumps:  # the deadline is as far away as the clock was set back
                        raise TransformError(f"time was set back while it was waited for: {error}") from error
                    if pair in self._given_up or self._now_ns() > deadline_ns:
                        self._give_up(pair)
                        raise
                time.sleep(RETRY_S)

        return cache(lookup)  # a frame asks for some poses several times

    def _give_up(self, pair: tuple[str, str]) -> None:
        if len(self._given_up) >= MAX_GIVEN_UP:  # names come from outside: any number of them
            self._given_up.clear()
        self._given_up.add(pair)


def camera_from_grid(header: Header, grid_frame: str, sweep_ns: int, fixed_frame: str, lookup: Lookup) -> np.ndarray:
    """(4, 4) from the grid at the sweep's stamp to the camera, at the image's own stamp if a fixed frame is set."""
    if not fixed_frame:
        return lookup(header.frame_id, grid_frame, sweep_ns)
    return lookup(header.frame_id, fixed_frame, stamp_ns(header)) @ lookup(fixed_frame, grid_frame, sweep_ns)


def _without_body(frame: SensorFrame, parameters: NodeParameters, lookup: Lookup) -> SensorFrame:
    """The frame without returns from inside the ego box.

    Raises:
        InvalidFrameError: no others are left.
    """
    box_frame = parameters.ego_box_frame or frame.frame_id
    box_from_grid = lookup(box_frame, frame.frame_id, frame.stamp_ns) if box_frame != frame.frame_id else None
    rest = frame.without_body(EgoBox.of_extents(parameters.ego_box, box_from_grid))
    if not len(rest.points):
        raise InvalidFrameError(
            f"sweep: expected returns outside ego_box {list(parameters.ego_box)}, got none among {len(frame.points)}"
        )
    return rest
