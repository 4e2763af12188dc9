"""Fitted thresholds against a brute-force search."""

import itertools

import numpy as np
import pytest
import torch
from helpers.small_model import CONFIG
from helpers.tiny_training import make_frame

from models.training.calibrate import EDGES, ENOUGH, LogitCounts, calibrate, fit_shifts
from occfusion_ros.network.occfusion import OccFusion


def iou(logit, label, occupied, shifts, hits, false, total):
    kept = logit + shifts[label] > 0
    return (hits + (kept & occupied).sum()) / (total + false + (kept & ~occupied).sum())


def test_shifts_are_the_best_pair_of_thresholds():
    rng = np.random.default_rng(0)
    label = rng.integers(11, 13, 6000)
    occupied = rng.random(6000) < 0.3
    logit = rng.normal(np.where(occupied, 1.0, -1.0) + (label == 12) * 2.0, 1.0)  # class 12 is over-confident
    counts = LogitCounts()
    known = torch.ones(6000, dtype=torch.bool)
    counts.add(torch.from_numpy(logit), torch.from_numpy(label), torch.from_numpy(occupied), known)
    hits, false, total = 500, 20, 500 + occupied.sum()
    shifts, reached = fit_shifts(counts, hits, false, total)
    candidates = np.linspace(-4, 2, 25)
    best = max(
        iou(logit, label, occupied, np.array([0] * 11 + [a, b]), hits, false, total)
        for a, b in itertools.product(candidates, candidates)
    )
    assert reached >= best - 2e-3
    assert iou(logit, label, occupied, shifts, hits, false, total) == pytest.approx(reached, abs=2e-3)
    assert shifts[11] - shifts[12] == pytest.approx(2.0, abs=0.7)


def test_unknown_voxels_do_not_count_and_rare_classes_take_that_of_their_kind():
    counts = LogitCounts()
    logit = torch.cat([torch.linspace(-3, 3, 4 * ENOUGH), torch.tensor([0.5])])
    label = torch.cat([torch.full((4 * ENOUGH,), 15), torch.tensor([14])])
    known = torch.ones(len(logit), dtype=torch.bool)
    known[:ENOUGH] = False
    counts.add(logit, label, logit > 1, known)
    shifts = counts.best_shifts(0.5)
    assert counts.free[15].sum() + counts.occupied[15].sum() == 3 * ENOUGH
    assert shifts[15] == pytest.approx(-1, abs=2 * (EDGES[1] - EDGES[0]))
    assert shifts[14] == shifts[15]


def test_objects_are_weighed_against_themselves():
    rng = np.random.default_rng(1)
    counts = LogitCounts()
    occupied = rng.random(20 * ENOUGH) < 0.2
    logit = torch.from_numpy(rng.normal(occupied * 0.8, 1.0))
    for label in (4, 15):
        counts.add(logit, torch.full((len(logit),), label), torch.from_numpy(occupied), torch.ones(len(logit)).bool())
    shifts = counts.best_shifts(0.9)
    assert shifts[4] > shifts[15]


def test_calibrated_shifts_are_stored_in_the_model_and_measured_on_what_is_observed():
    model = OccFusion(CONFIG).eval()
    frames = [make_frame(seed) for seed in range(2)]
    matrix = calibrate(model, frames)
    assert model.occupancy_shift.abs().sum() > 0 and model.refined_shift.abs().sum() > 0
    assert matrix.counts.sum() == sum(frame.observed.sum() for frame in frames)
