"""Name the classes of the ground."""

from occfusion_ros.core.labels import FLAT_GROUND

DRIVEABLE, OTHER_FLAT, SIDEWALK, TERRAIN = map(int, FLAT_GROUND)
