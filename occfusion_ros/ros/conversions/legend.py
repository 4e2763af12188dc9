"""An image that says which color is which class, for viewers that have no legend of their own."""

import array

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ...core.labels import SemanticClass

ROW = (26, 230)  # pixels, height and width
LUMA = np.array([299, 587, 114])  # thousandths, of ITU-R BT.601


def legend_message(header: Header, classes: tuple[SemanticClass, ...]) -> Image:
    """Give the image as a message."""
    pixels = legend(classes)
    height, width, channels = pixels.shape
    data = array.array("B", pixels.tobytes())
    return Image(
        header=header, height=height, width=width, encoding="rgb8", step=channels * width, data=data, is_bigendian=0
    )


def legend(classes: tuple[SemanticClass, ...]) -> np.ndarray:
    """Draw the names of classes on their colors, a row for each; (H, W, 3) uint8 RGB."""
    return np.concatenate([_row(each) for each in classes])


def _row(semantic_class: SemanticClass) -> np.ndarray:
    import cv2

    pixels = np.empty((*ROW, 3), np.uint8)
    pixels[:] = semantic_class.rgb
    ink = (0, 0, 0) if LUMA @ semantic_class.rgb > 110_000 else (255, 255, 255)
    name = semantic_class.name.replace("_", " ")
    return cv2.putText(pixels, name, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.55, ink, 1, cv2.LINE_AA)
