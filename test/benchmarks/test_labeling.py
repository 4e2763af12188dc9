"""Figures of labeling, from recordings made of few frames."""

import json
from pathlib import Path

import pytest

from benchmarks.labeling import __main__ as command
from benchmarks.labeling.page import BEGIN, END, section
from benchmarks.labeling.recordings import linked, make
from benchmarks.load.null_model import write_null_model
from occfusion_ros.core.errors import DatasetError, OccFusionError
from occfusion_ros.runtime.artifact import load_artifact


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Four recordings of one sweep each from one frame."""
    folder = tmp_path_factory.mktemp("labeling")
    make(folder, sweeps=4, drives=1, frames=1, image_scale=0.1)
    return folder


def test_few_frames_become_many_recordings(made):
    assert [path.name for path in linked(made)] == [f"recording-{number:04d}.mcap" for number in range(4)]
    assert len({path.resolve() for path in linked(made)}) == 1
    with pytest.raises(DatasetError, match="benchmarks.labeling make"):
        linked(made / "root")
    with pytest.raises(DatasetError, match="multiple of --frames"):
        make(made / "other", sweeps=5, drives=1, frames=2, image_scale=0.1)


def test_figures_and_the_page_come_from_a_run(made, tmp_path, monkeypatch):
    page = tmp_path / "labelling.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(command, "FIGURES", tmp_path / "labelling.json")
    monkeypatch.setattr(command, "PAGE", page)
    null = write_null_model(tmp_path / "null", load_artifact("nano").contract)
    assert command.main(["measure", str(made), "--model", str(null), "--runs", "0x1", "1x1", "--part", "2"]) == 0
    figures = json.loads((tmp_path / "labelling.json").read_text())
    assert [(run["workers"], run["sweeps"], run["dropped"]) for run in figures["runs"]] == [(0, 2, 0), (1, 4, 0)]
    assert all(0 < run["sweeps_per_second"] and run["megabytes_per_sweep"] > 0 for run in figures["runs"])
    assert page.read_text() == f"before\n{BEGIN}\n{section(figures)}\n{END}\nafter\n"
    assert "| 1 | 1 | 4 |" in page.read_text() and not (made / "labels").exists()


def test_a_rate_counts_from_when_every_worker_has_begun():
    # Two workers that need 2 s for a slice of 10 sweeps, begun 5 s after the start.
    assert command.rate([7.0, 7.0, 9.0, 9.0, 11.0, 11.0], 60, 2) == pytest.approx(10.0)
    with pytest.raises(OccFusionError, match="larger --part"):
        command.rate([7.0, 7.0, 9.0], 30, 2)


def test_runs_grow_to_all_cores():
    assert command._pairs(1) == [(1, 1)]
    assert command._pairs(2) == [(1, 1), (1, 2), (2, 1)]
    assert command._pairs(6) == [(1, 1), (1, 6), (2, 1), (4, 1), (6, 1)]
