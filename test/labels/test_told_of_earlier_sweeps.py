"""Labels of a model that is told of earlier sweeps."""

from pathlib import Path

import numpy as np
import pytest
from helpers.labeling import label, null_arguments, sweeps, tiny_bag

from occfusion_ros.labels.__main__ import main

TOLD = ["-p", "past_sweeps:=2", "-p", "refine:=none", "--workers", "0", "--formats", "npz"]


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    """Four sweeps."""
    return tiny_bag(tmp_path_factory.mktemp("bags"), samples=3)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory) -> list[str]:
    return null_arguments(tmp_path_factory.mktemp("model"), "nano_multisweep")


@pytest.fixture(scope="module")
def labeled(bag, arguments, tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """Every sweep, in slices of one or two."""
    out = tmp_path_factory.mktemp("labels") / "out"
    return out, label(bag, out, *arguments, *TOLD)


def occupancy(written: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in written.items() if name.startswith("occupancy/")}


def occupied(out: Path, written: dict[str, bytes]) -> list[int]:
    """Occupied voxels of each sweep, in the order of time."""
    return [
        int(np.count_nonzero(np.load(out / "occupancy" / f"{sweep['token']}.npz")["semantics"]))
        for sweep in sweeps(written)
    ]


def test_sweeps_of_the_slice_before_count_too(bag, arguments, labeled, tmp_path):
    out, written = labeled
    whole = label(bag, tmp_path / "whole", *arguments, *TOLD, "--slice-s", "20")
    assert occupancy(whole) == occupancy(written) and len(occupancy(written)) == 4
    alone = label(bag, tmp_path / "alone", *arguments, *TOLD, "-p", "past_sweeps:=0")
    counts = list(zip(occupied(tmp_path / "alone", alone), occupied(out, written)))
    assert counts[0][0] == counts[0][1], "nothing came before the first"
    assert all(with_earlier > own for own, with_earlier in counts[1:])


def test_sweeps_that_are_not_labeled_count_too(bag, arguments, labeled, tmp_path):
    some = occupancy(label(bag, tmp_path / "some", *arguments, *TOLD, "--every-s", "0.1"))
    assert len(some) == 3 and some.items() <= occupancy(labeled[1]).items()


def test_a_memory_and_earlier_sweeps_go_together(bag, arguments, labeled, tmp_path):
    written = label(bag, tmp_path / "out", *arguments, *TOLD, "-p", "memory:=short", "--hindsight")
    assert all(b >= a for a, b in zip(occupied(*labeled), occupied(tmp_path / "out", written)))


@pytest.mark.parametrize(
    ("words", "reason"),
    [(["-p", "fixed_frame:=''"], "needs fixed_frame"), (["-p", "model:=nano"], "was not trained with earlier sweeps")],
)
def test_what_cannot_be_told_is_refused(bag, arguments, tmp_path, words, reason, capsys):
    assert main([str(bag), str(tmp_path / "out"), *arguments, *TOLD, *words]) == 1
    assert reason in capsys.readouterr().err
