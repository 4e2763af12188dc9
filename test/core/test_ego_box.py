import numpy as np
import pytest

from occfusion_ros.core.ego_box import EgoBox
from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.core.frames import SensorFrame

EXTENTS = (-1.0, 3.5, -0.9, 0.9, -0.2, 1.6)
TURNED = np.array([[0.0, 1, 0, 0.5], [-1, 0, 0, 0], [0, 0, 1, 1.84], [0, 0, 0, 1]])  # base (x forward) from grid


def test_points_inside_are_told_in_the_frame_of_the_box():
    box = EgoBox.of_extents(EXTENTS, TURNED)
    in_base = np.array([[0, 0, 1], [3.4, 0.8, 0], [3.6, 0, 1], [0, 1, 1], [0, 0, 1.7], [-1.1, 0, 0], [np.nan, 0, 0]])
    in_grid = (in_base - TURNED[:3, 3]) @ TURNED[:3, :3]
    assert box.contains(in_grid.astype(np.float32)).tolist() == [True, True, False, False, False, False, False]
    assert EgoBox.of_extents(EXTENTS).contains(in_base).tolist() == box.contains(in_grid).tolist()


@pytest.mark.parametrize("extents", [(1, 1, 0, 1, 0, 1), (0, 1, 0, 1, 2, 1), (0, 1, 0, np.nan, 0, 1), (0, 1), (0,) * 7])
def test_what_is_no_box_is_refused(extents):
    with pytest.raises(InvalidFrameError, match="ego box: expected"):
        EgoBox.of_extents(extents)


def test_a_frame_without_its_body_keeps_everything_else():
    points = np.float32([[0, 0, 0, 0.1], [0, 5, 0, 0.2], [0.95, 0, 0, 0.3]])
    frame = SensorFrame(7, points, (), "grid")
    rest = frame.without_body(EgoBox.of_extents((-0.9, 0.9, -1, 3, -1.8, 0.5)))
    np.testing.assert_array_equal(rest.points, points[1:])
    assert rest.body_removed and not frame.body_removed
    assert (rest.stamp_ns, rest.frame_id) == (7, "grid")
