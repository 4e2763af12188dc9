"""The table of seeds."""

import itertools

import pytest

from models.training.config import TrainConfig
from synthetic import seeds


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(seeds.ALL, 2)))
def test_ranges_do_not_meet(one, other):
    first, second = sorted((seeds.ALL[one], seeds.ALL[other]), key=lambda drives: drives.start)
    assert len(first) and len(second) and first.stop <= second.start


def test_training_begins_where_its_range_does():
    assert TrainConfig().first_seed == seeds.TRAINING.start
