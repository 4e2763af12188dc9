"""The demo on real recordings of three rigs, with all that the node publishes of them."""

import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.demo_run import VIEW, shown_as_answered, without_display
from helpers.foxglove_file import read, voxel_grid
from helpers.listener import assert_costmap_agrees, assert_forms_agree, listening

from occfusion_ros.ros.demo import __main__ as demo
from occfusion_ros.ros.demo.replay import Replay
from occfusion_ros.ros.node.parameters import NUSCENES_CAMERAS
from occfusion_ros.ros.viewers.foxglove_web import open_foxglove
from occfusion_ros.ros.viewers.rerun_viewer import open_rerun
from occfusion_ros.ros.viewers.scene import Scene


@contextmanager
def for_foxglove_too(file: Path) -> Iterator[Callable[[Scene], None]]:
    """Both of what viewers are given, with all voxels."""
    where = Namespace(file=Path(f"{file}.mcap"), merge=1, range=0.0, layout=None)
    with open_rerun(file) as for_rerun, open_foxglove(where) as for_foxglove:
        yield lambda scene: (for_rerun(scene), for_foxglove(scene))


def in_the_map(replay: Callable) -> Callable:
    """A replay of a node that has a fixed frame, and so a costmap, and remembers nothing."""

    def replayed(bag: Path, arguments: dict, options: Namespace, **more: Any) -> Replay:
        (options.out / bag.name).mkdir(parents=True, exist_ok=True)
        return replay(bag, demo.with_memory(arguments, "none", options.out / bag.name), options, **more)

    return replayed


@pytest.mark.sensors
def test_real_scenes_of_three_rigs_are_answered_and_shown(nuscenes_sample, tmp_path, ros_domain, capsys, monkeypatch):
    kept, original = [], demo.report
    without_display(monkeypatch)
    monkeypatch.setattr(demo, "open_rerun", for_foxglove_too)
    monkeypatch.setattr(demo, "_replay", in_the_map(demo._replay))
    monkeypatch.setattr(demo, "report", lambda outcome: kept.append(outcome) or original(outcome))
    with listening(first=False) as heard:
        code = demo.main(
            [
                "--data",
                str(nuscenes_sample),
                "--out",
                str(tmp_path),
                "--domain",
                str(ros_domain),
                "--memory",
                "none",
                "--model",
                "nano",
                "--pictures",
                "1",
                "--seconds-per-sweep",
                "3",
                *VIEW,
            ]
        )
    printed = capsys.readouterr().out
    assert code == 0 and "3 of 3 scenes: every sweep answered" in printed
    assert [line.split()[-1] for line in printed.splitlines() if line.startswith("sweeps in")] == ["1", "3", "6"]
    assert "cameras used    6 to 6 of 6" in printed and "cameras used    0 to 0 of 0" in printed
    assert len(list(tmp_path.glob("*/*.png"))) == 3
    files = dict.fromkeys(re.findall(r"^writing (\S+rrd);", printed, re.M))  # anew where it is tried again
    assert len(files) == 3 * len(VIEW)
    for outcome, file in zip(kept, files):
        assert shown_as_answered(outcome, Path(file))
        grids = {stamp: voxel_grid(grid) for stamp, _, grid in read(Path(f"{file}.mcap"))["/voxels"]}
        for stamp, answer in outcome.answers.items():
            grid, _ = answer.decoded()
            assert grids[stamp][0] == grid.spec and (grids[stamp][1] == grid.labels).all()
    for outcome in kept:
        for stamp, answer in outcome.answers.items():
            nuscenes = set(answer.message.cameras) & set(NUSCENES_CAMERAS)
            assert_forms_agree(heard.messages, stamp, answer.decoded()[0], nuscenes)
            assert_costmap_agrees(heard, stamp)
