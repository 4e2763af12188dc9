"""What tests of the demo have in common."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from occfusion_ros.ros.demo.replay import Replay

from .rrd import labels_at, rows

VIEW = ["--view"] if find_spec("rerun") and find_spec("foxglove") else []


def without_display(patch: pytest.MonkeyPatch) -> None:
    """Where there is one, a window would open."""
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        patch.delenv(variable, raising=False)


def shown_as_answered(outcome: Replay, file: Path) -> bool:
    """Whether Rerun's file has the voxels of all answers, and images of the cameras that took part."""
    shown = rows(file)
    for stamp, answer in outcome.answers.items():
        grid, _ = answer.decoded()
        if (labels_at(shown, stamp, grid.spec) != np.where(grid.labels == 255, 0, grid.labels)).any():
            return False
        for name in answer.images:
            assert stamp in dict(shown[f"/grid/cameras/{name}/image"]["EncodedImage:blob"])
    return bool(outcome.answers)
