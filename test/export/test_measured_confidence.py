"""How often voxels of each byte are right, counted and fitted."""

import numpy as np
import pytest
import torch
from helpers.small_model import small_model

from export import confidence as module
from export.confidence import BELIEVED, Counts, NetworkCounts, measure
from models.training.predict import Prediction
from occfusion_ros.core.confidence import OCCUPIED, Calibration
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.network.occfusion import FuserOutput


def test_the_curve_is_the_share_that_is_right_and_never_falls():
    counts = Counts()
    for byte, right in ((50, 0.1), (150, 0.8), (160, 0.6), (200, 0.9)):
        values = torch.full((1_000_000,), byte, dtype=torch.uint8)
        counts.add(values, torch.arange(1_000_000) < right * 1e6, torch.ones(1_000_000, dtype=torch.bool))
    curve = np.array(counts.fit(Calibration().occupancy))
    assert (np.diff(curve) >= 0).all()
    np.testing.assert_allclose(curve[[50, 150, 160, 200]], [0.1, 0.7, 0.7, 0.9], atol=2e-3)


def test_where_nothing_is_counted_the_network_is_believed():
    believed = Calibration().occupancy
    np.testing.assert_allclose(Counts().fit(believed), believed, atol=1e-4)


def test_few_voxels_move_the_curve_a_little():
    counts = Counts()
    counts.add(torch.tensor([255], dtype=torch.uint8), torch.tensor([False]), torch.tensor([True]))
    believed = Calibration().occupancy[255]
    assert believed * BELIEVED / (BELIEVED + 1) < counts.fit(Calibration().occupancy)[255] < believed


def test_what_the_truth_does_not_know_is_not_counted_and_a_class_only_where_something_is():
    counts = NetworkCounts()
    truth = torch.tensor([[0, 4, 5, IGNORE, 4]], dtype=torch.uint8)
    occupancy = torch.tensor([[200, 200, 200, 200, 20]], dtype=torch.uint8)
    counts.add(occupancy, torch.full((1, 5), 90, dtype=torch.uint8), torch.full((1, 5), 4), truth)
    assert (counts.occupancy.all[200], counts.occupancy.right[200]) == (3, 2)
    assert (counts.occupancy.all[20], counts.occupancy.right[20]) == (1, 1)
    assert (counts.classes.all[90], counts.classes.right[90]) == (2, 1)


def test_each_network_is_measured_on_the_voxels_that_it_answers(monkeypatch):
    """Two coarse voxels, the second refined; the fuser is sure of all, the refiner of nothing."""
    monkeypatch.setattr(module, "BELIEVED", 1e-6)
    model = small_model()
    truth = torch.zeros((2, 64), dtype=torch.uint8)
    truth[0, :48], truth[1, :16] = 3, 3
    coarse = torch.zeros((1, 2, 17))
    coarse[..., 3] = 9.0
    refined = torch.zeros((1, 64, 17))
    refined[..., 0] = np.log(16) + float(model.refined_shift[1])  # just at the threshold
    fuser = FuserOutput(coarse, torch.full((1, 2, 64), 9.0), torch.zeros(1, 2, 1), torch.zeros(1, 0))
    returned = torch.zeros((2, 64), dtype=torch.bool)
    found = measure(model, [Prediction(fuser, refined, torch.tensor([1]), returned, truth)])
    assert found.fuser.occupancy[255] == pytest.approx(0.75, abs=1e-3)
    assert found.refiner.occupancy[OCCUPIED] == pytest.approx(0.25, abs=1e-3)
    assert found.fuser.classes[255] == pytest.approx(1, abs=1e-3) and found.refiner.classes[16] == 0
