"""Points right in seven groups: what counts, and the figures of a root with point labels."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers.tiny_nuscenes import TinyRoot

from models.evaluation import point_groups
from models.evaluation.point_groups import GROUPS, PointGroups, line
from occfusion_ros.core.labels import IGNORE, Label
from occfusion_ros.datasets.nuscenes import NuScenesReader


def test_groups_are_counted_and_other_classes_left_out():
    result = PointGroups()
    truth = np.array(
        [Label.CAR, Label.CAR, Label.TRUCK, Label.MANMADE, Label.BARRIER, IGNORE, Label.PEDESTRIAN], np.uint8
    )
    answer = np.array([Label.TRUCK, Label.BUS, Label.BARRIER, Label.MANMADE, Label.CAR, 0, 0], np.uint8)
    result.add(answer, truth)
    assert result.right == pytest.approx(3 / 5), "a truck is a vehicle; a barrier in the truth counts nothing"
    figures = result.as_json()
    assert figures["points"] == 5 and figures["iou"]["vehicle"] == pytest.approx(2 / 3)
    assert figures["iou"]["person"] == 0 and figures["iou"]["road"] is None
    assert figures["miou"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert "0.600 of 5 points right" in line("scene", figures)


def test_nothing_counts_nothing():
    figures = PointGroups().as_json()
    assert figures["right"] is None and figures["miou"] is None and set(figures["iou"]) == set(GROUPS)
    assert line("scene", figures) == "scene: no point counts"


def test_the_command_measures_the_last_share_of_a_scene(tmp_path, monkeypatch, capsys):
    root, seen = TinyRoot(tmp_path).root, []
    tokens = list(NuScenesReader(root).samples())
    monkeypatch.setattr(NuScenesReader, "has_lidarseg", lambda self, token: True)
    monkeypatch.setattr(point_groups.Pipeline, "load", lambda *_: SimpleNamespace(contract=None))
    monkeypatch.setattr(point_groups.NuScenesFrames, "for_model", lambda *_: None)
    monkeypatch.setattr(point_groups, "measure", lambda *given: seen.extend(given[-1]) or PointGroups())
    assert point_groups.main(["--data", str(root), "--last", "0.5"]) == 0
    assert seen == tokens[1:] and len(tokens) == 2
    with pytest.raises(SystemExit):
        point_groups.main(["--data", str(root), "--last", "0.1"])
    assert "in the last 0.1 of each scene" in capsys.readouterr().err
