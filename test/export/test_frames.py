"""Frames that exports are compared and quantized on: a model with lags is told of earlier sweeps there too."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.tiny_nuscenes import TinyRoot

from export.frames import nuscenes_frames, parity_frames, synthetic_frame
from occfusion_ros.core.preprocessing import Preprocessing
from occfusion_ros.runtime.artifact import load_artifact
from synthetic import SyntheticDrive, seeds

NANO = load_artifact("nano").contract
AGED = replace(NANO, preprocessing=Preprocessing(lags=True))


@pytest.mark.parametrize("contract, told", [(NANO, False), (AGED, True)])
def test_recorded_frames_come_with_earlier_sweeps_for_a_model_with_lags(tmp_path, contract, told):
    TinyRoot(tmp_path / "root")
    first, second = nuscenes_frames(tmp_path / "root", 2, contract).values()
    assert not len(first.past.points) and (len(second.past.points) > 0) == told
    cases = parity_frames(tmp_path / "root", 2, contract)
    assert [len(cases[name].cameras) for name in ("one camera", "no cameras")] == [1, 0]


def test_synthetic_frames_come_with_earlier_sweeps():
    drive = SyntheticDrive(seeds.TESTS[6], image_size=(32, 48))
    alone, told = (synthetic_frame(drive, 8, contract) for contract in (NANO, AGED))
    assert np.array_equal(alone.points, told.points) and not len(alone.past.points)
    assert 0 < len(np.unique(told.past.lags)) <= 10 and told.past.lags.max() < 4
