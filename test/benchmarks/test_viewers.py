"""The costs of viewers: what is measured is what was asked for, and each form has its row."""

import numpy as np
import pytest

from benchmarks import viewers

for package in ("rerun", "foxglove"):
    pytest.importorskip(package, reason="pip install rerun-sdk foxglove-sdk")


def test_a_street_has_as_many_voxels_as_asked_for():
    scene = viewers.street(5000)
    assert len(scene.voxels.flat) == np.count_nonzero(scene.grid.labels) == 5000
    assert len(np.unique(scene.voxels.labels)) > 10


def test_each_form_has_a_row_with_what_it_cost(capsys):
    assert viewers.main(["--voxels", "5000", "--answers", "2"]) == 0
    rows = [line.split("|")[1:4] for line in capsys.readouterr().out.splitlines() if line.startswith(("| R", "| F"))]
    assert [form.split(",")[0].strip() for form, _, _ in rows] == ["Rerun"] * 4 + ["Foxglove"] * 2
    assert all(float(milliseconds) > 0 and float(megabytes) > 0 for _, milliseconds, megabytes in rows)
