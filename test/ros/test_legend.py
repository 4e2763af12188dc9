"""The legend: every class has a row of its color with its name on it, and whoever comes late gets it."""

import numpy as np
from helpers.rig import LATCHED
from sensor_msgs.msg import Image

from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES, SemanticClass
from occfusion_ros.ros.conversions.image import rgb_from_image
from occfusion_ros.ros.conversions.legend import ROW, legend, legend_message
from occfusion_ros.ros.conversions.stamps import header_from


def rows(classes) -> np.ndarray:
    """(N, H, W, 3) as a viewer reads it."""
    pixels = rgb_from_image(legend_message(header_from(5, ""), classes))
    return pixels.reshape(len(classes), *ROW, 3)


def test_each_class_has_its_color_and_a_name_that_can_be_read():
    for row, c in zip(rows(OPENOCCUPANCY_CLASSES), OPENOCCUPANCY_CLASSES):
        color = np.array(c.rgb)
        written = np.abs(row.astype(int) - color).sum(axis=2) > 250
        assert (row == color).all(axis=2).mean() > 0.7, c.name
        assert 12 * len(c.name) < written.sum() < 80 * len(c.name), "letters that stand out"
        assert not written[:, :4].any() and not written[:, -4:].any() and not written[[0, -1]].any(), "all of them fit"


def test_names_differ_and_colors_may_be_anything():
    black, white = rows((SemanticClass(1, "a", (0, 0, 0)), SemanticClass(200, "b", (255, 255, 255))))
    assert black.max() == 255 and white.min() == 0
    assert not np.array_equal(black > 128, white < 128)


def test_one_class_is_enough():
    assert legend(OPENOCCUPANCY_CLASSES[:1]).shape == (*ROW, 3)


def test_the_node_publishes_it_once_for_whoever_comes(start):
    rig = start()
    got = [rig.listen(Image, "/occfusion/legend", LATCHED) for _ in range(2)]
    rig.wait(lambda: all(got), "the legend")
    np.testing.assert_array_equal(rgb_from_image(got[1][0]), legend(OPENOCCUPANCY_CLASSES))
    assert [len(each) for each in got] == [1, 1]
