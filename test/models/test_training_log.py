"""The log of a run: rows of steps that are trained again go; TensorBoard, where there is one, gets the same figures."""

import sys
from types import SimpleNamespace

import pytest

from models.training.log import COLUMNS, TrainingLog

LOSSES = (1.0, 2.0, 3.0, 0.0, 0.0)  # by `objective.TERMS`


@pytest.fixture
def board(monkeypatch):
    """What a stand-in for TensorBoard's writer was told."""
    told = SimpleNamespace(scalars=[], purge_step=None, closed=False)

    class Writer:
        def __init__(self, folder, purge_step):
            told.purge_step = purge_step

        def add_scalar(self, name, value, step):
            told.scalars.append((name, value, step))

        def close(self):
            told.closed = True

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    return told


def steps(out) -> list[str]:
    lines = (out / "log.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    return [line.split(",")[2] for line in lines[1:]]


def test_rows_after_the_saved_state_are_written_anew(tmp_path):
    log = TrainingLog(tmp_path, 0)
    for step in range(1, 6):
        log.write(0, "all", step, LOSSES, 0.1)
    with open(tmp_path / "log.csv", "a") as file:
        file.write("0,all,6,1.0")  # killed while writing
    again = TrainingLog(tmp_path, 3)
    assert steps(tmp_path) == ["1", "2", "3"]
    again.write(0, "all", 4, LOSSES, 0.1)
    assert steps(tmp_path) == ["1", "2", "3", "4"]


def test_tensorboard_gets_the_terms(tmp_path, board):
    log = TrainingLog(tmp_path, 7)
    log.write(1, "hard", 8, LOSSES, 0.1)
    log.close()
    assert board.purge_step == 8 and board.closed
    assert ("loss/occupancy", 2.0, 8) in board.scalars and ("learning_rate", 0.1, 8) in board.scalars


def test_without_tensorboard_only_the_table_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    TrainingLog(tmp_path, 0).write(0, "all", 1, LOSSES, 0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
