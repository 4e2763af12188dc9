"""From the clouds of one moment to one sweep in the grid frame."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from sensor_msgs.msg import PointCloud2

from ...core.errors import InvalidFrameError
from ...core.motion import deskewed, knots
from ...core.returns import are_returns
from ..conversions.point_cloud import Cloud, read_cloud
from ..conversions.point_times import PointTimes, UnclearTimesError, read_times
from ..conversions.stamps import NS_PER_S, frame_of, stamp_ns
from ..transforms.tree import TransformError
from .parameters import NodeParameters

Lookup = Callable[[str, str, int], np.ndarray]  # target frame, source frame, stamp -> (4, 4) target_from_source


class Sweep(NamedTuple):
    """What the clouds of one moment hold, in the grid frame at the sweep's stamp.

    Attributes:
        points: (N, 4) float32: x, y, z in metres, intensity in 0..1.
        ray_origins: (L, 3) float64, metres: where each LiDAR stood at its own cloud's stamp.
        origin_of_point: (N,) uint8, the LiDAR of each point; None where there is only one.
    """

    points: np.ndarray
    ray_origins: np.ndarray
    origin_of_point: np.ndarray | None


class SweepReader:
    """Reads clouds, leaves out what is no return, and brings the rest into the grid frame at the sweep's stamp.

    Attributes:
        deskew: by topic, whether points are brought to the sweep's stamp one by one, and if not, why.
    """

    def __init__(self, on_fault: Callable[[str, Exception], None], on_deskew: Callable[[str], None]) -> None:
        """
        Args:
            on_fault: called with a cause and the error for what is left out of a sweep; from any thread.
            on_deskew: called with a line for the log when deskewing begins or ends for a topic.
        """
        self._on_fault, self._on_deskew = on_fault, on_deskew
        self.deskew: dict[str, str] = {}

    def read(
        self, clouds: Mapping[str, PointCloud2], grid_frame: str, parameters: NodeParameters, lookup: Lookup
    ) -> Sweep:
        """Read the clouds that belong to one sweep.

        Args:
            clouds: by topic; the first is the one whose stamp the sweep has. One that cannot be used is left out and
                reported, as long as another can.

        Raises:
            InvalidFrameError, TransformError: none can be used; the first one's reason.
        """
        stamp = stamp_ns(next(iter(clouds.values())).header)
        parts, errors = [], {}
        for topic, cloud in clouds.items():
            try:
                parts.append(self._read_one(topic, cloud, stamp, grid_frame, parameters, lookup))
            except (InvalidFrameError, TransformError) as error:
                errors[topic] = error
        if not parts:
            raise next(iter(errors.values()))
        for topic, error in errors.items():
            self._on_fault(f"{'transform' if isinstance(error, TransformError) else 'cloud'} {topic}", error)
        return _merged(parts)

    def _read_one(
        self, topic: str, message: PointCloud2, stamp: int, grid_frame: str, parameters: NodeParameters, lookup: Lookup
    ) -> tuple[np.ndarray, np.ndarray]:
        """The points (N, 4) of one cloud and the place (3,) of its LiDAR."""
        frame, own_stamp = frame_of(message.header), stamp_ns(message.header)
        cloud = read_cloud(message, parameters.intensity_max, with_times=parameters.deskew)
        cloud = _returns(cloud, parameters.min_range, message)
        pose = partial(_grid_from_sensor, grid_frame, stamp, frame, parameters.fixed_frame, lookup)
        grid_from_sensor, points = pose(own_stamp), cloud.points
        origin = grid_from_sensor[:3, 3]
        if times := self._times(topic, cloud, own_stamp, parameters):
            at = knots(times.seconds)
            try:  # the latest first: where it is not there, the others need not be looked up
                poses = np.stack([pose(own_stamp + round(seconds * NS_PER_S)) for seconds in at[::-1]])[::-1]
                return deskewed(points, times.seconds, at, poses), origin
            except TransformError as error:
                self._on_fault(f"deskew {topic}", error)
        if frame != grid_frame or own_stamp != stamp:
            points[:, :3] = points[:, :3] @ grid_from_sensor[:3, :3].T + origin
        return points, origin

    def _times(self, topic: str, cloud: Cloud, stamp: int, parameters: NodeParameters) -> PointTimes | None:
        """When the points were measured, if they are to be deskewed; None where they are not, which is told once."""
        times = None
        if not parameters.deskew:
            state = "off: parameter deskew"
        elif not parameters.fixed_frame:
            state = "off: no fixed_frame"
        elif cloud.times is None:
            state = "off: the cloud has no time for each point"
        else:
            try:
                times = read_times(cloud.time_field, cloud.times, stamp)
                state = f"on: {times.meaning}"
            except UnclearTimesError as error:
                state = f"off, not certain: {error}"
        before, self.deskew[topic] = self.deskew.get(topic), state
        if parameters.fixed_frame and (before or "").partition(":")[0] != state.partition(":")[0]:
            self._on_deskew(f"{topic}: deskew {state}")
        return times


def _merged(parts: list[tuple[np.ndarray, np.ndarray]]) -> Sweep:
    """One sweep of several clouds, each its points and its LiDAR's place."""
    points, origins = zip(*parts)
    if len(parts) == 1:
        return Sweep(points[0], np.stack(origins), None)
    of = np.repeat(np.arange(len(parts), dtype=np.uint8), [len(part) for part in points])
    return Sweep(np.concatenate(points), np.stack(origins), of)


def _returns(cloud: Cloud, min_range: float, message: PointCloud2) -> Cloud:
    """The points that are returns.

    Raises:
        InvalidFrameError: there is none.
    """
    kept = are_returns(cloud.points[:, :3], min_range)
    if not kept.any():
        raise InvalidFrameError(
            f"cloud: expected returns, got none among {message.width * message.height} points: all "
            f"are not finite, nearer than {min_range:g} m (min_range) or marks of beams that met "
            "nothing"
        )
    return Cloud(
        cloud.points.compress(kept, axis=0),
        None if cloud.times is None else cloud.times.compress(kept),
        cloud.time_field,
    )


def _grid_from_sensor(grid_frame: str, stamp: int, frame: str, fixed_frame: str, lookup: Lookup, at: int) -> np.ndarray:
    """(4, 4) from the sensor at a time `at` to the grid at the sweep's stamp; without a fixed frame nothing moves."""
    if at == stamp or not fixed_frame:
        return lookup(grid_frame, frame, stamp) if grid_frame != frame else np.eye(4)
    return lookup(grid_frame, fixed_frame, stamp) @ np.linalg.inv(lookup(frame, fixed_frame, at))
