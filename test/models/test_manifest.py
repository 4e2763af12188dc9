"""Prepared frames are taken for those of their own making only."""

import json
import re
from dataclasses import replace

import pytest
from helpers.small_model import CONFIG, save_small_checkpoint

from models import train
from models.training import calibrate, prepare
from models.training.augment import AugmentConfig
from models.training.manifest import MANIFEST, claim
from models.training.prepare import prepare_all
from occfusion_ros.core.errors import ContractError, DatasetError
from occfusion_ros.core.grid import GridSpec

SEEDS, PRESAMPLE = range(1000, 1001), CONFIG.presample
SETTINGS = {"augmentation": AugmentConfig(), "rig": "nuscenes"}


def stand_ins(folder):
    """Files that stand for prepared frames, so that none need be made."""
    paths = [folder / f"001000_{number}.npz" for number in range(4)]
    for path in paths:
        path.write_bytes(b"prepared")
    return paths


@pytest.fixture
def folder(tmp_path):
    """Frames of `SETTINGS`."""
    folder = tmp_path / "frames"
    folder.mkdir()
    claim(
        folder,
        prepare.making(
            PRESAMPLE,
            SETTINGS["augmentation"],
            False,
            rig="nuscenes",
            spacing=prepare.SPACING,
            generator_version=prepare.GENERATOR_VERSION,
        ),
    )
    stand_ins(folder)
    return folder


CHANGES = [
    ("rig", {"rig": "van"}),
    ("zoom", {"augmentation": AugmentConfig(zoom=0.5)}),
    ("for_training", {"augmentation": None}),
    ("holds", {"keep_images": True}),
    ("image_size", {"config": replace(PRESAMPLE, image_size=(128, 192))}),
    ("horizon", {"config": replace(PRESAMPLE, horizon=0.5)}),
]


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_frames_of_another_making_are_refused_and_what_differs_is_named(folder, name, change):
    arguments = {"config": PRESAMPLE, **SETTINGS, **change}
    with pytest.raises(DatasetError, match=f"prepared otherwise .*{name}.*wanted .*--fresh"):
        prepare_all(folder, SEEDS, workers=1, **arguments)
    assert len(list(folder.glob("*.npz"))) == 4  # nothing is lost


def test_another_generator_version_is_named(folder, monkeypatch):
    here = prepare.GENERATOR_VERSION
    monkeypatch.setattr(prepare, "GENERATOR_VERSION", here + 1)
    with pytest.raises(DatasetError, match=f"generator_version: {here}, wanted {here + 1}"):
        prepare_all(folder, SEEDS, PRESAMPLE, 1, **SETTINGS)


@pytest.mark.parametrize("manifest", [None, "", "[1]", "{}"])
def test_frames_of_which_nothing_is_known_are_refused(folder, manifest):
    (folder / MANIFEST).unlink()
    if manifest is not None:
        (folder / MANIFEST).write_text(manifest)
    with pytest.raises(DatasetError, match="prepared otherwise"):
        prepare_all(folder, SEEDS, PRESAMPLE, 1, **SETTINGS)


@pytest.mark.parametrize("changes", [{}, {"augmentation": AugmentConfig(flip=0.1, thin=0.5)}])
def test_frames_of_the_same_making_are_taken_whatever_is_changed_only_when_they_are_drawn(folder, changes):
    paths = prepare_all(folder, SEEDS, PRESAMPLE, 1, **{**SETTINGS, **changes})
    assert [path.read_bytes() for path in paths] == [b"prepared"] * 4


def test_fresh_has_frames_of_another_making_made_again_and_keeps_those_of_the_same(folder):
    same = json.loads((folder / MANIFEST).read_text())
    claim(folder, same, fresh=True)
    assert len(list(folder.glob("*.npz"))) == 4
    claim(folder, {**same, "rig": "van"}, fresh=True)
    assert not list(folder.glob("*.npz")) and json.loads((folder / MANIFEST).read_text())["rig"] == "van"


OTHER_GRIDS = [
    ("voxel_size", GridSpec((-40.0, -40.0, -5.0), 0.4, (200, 200, 40))),
    ("low z", GridSpec((-51.2, -51.2, -1.0), 0.2, (512, 512, 40))),
    ("layers", GridSpec((-51.2, -51.2, -5.0), 0.2, (512, 512, 32))),
]


@pytest.mark.parametrize(("name", "grid"), OTHER_GRIDS)
def test_a_grid_that_no_frame_has_is_refused_before_anything_is_prepared(tmp_path, name, grid):
    with pytest.raises(ContractError, match=rf"grid: {name} must be .*, as in the truth that frames hold, got"):
        prepare_all(tmp_path / "frames", SEEDS, replace(PRESAMPLE, grid=grid), 1)
    with pytest.raises(ContractError, match=f"grid: {name} must be"):
        prepare.prepare_root(tmp_path / "frames", tmp_path, replace(PRESAMPLE, grid=grid))
    assert not (tmp_path / "frames").exists()


def test_training_and_calibration_say_so_in_one_sentence(tmp_path, capsys, folder):
    settings, out, nowhere = tmp_path / "settings.yaml", str(tmp_path / "out"), str(tmp_path / "nowhere")
    settings.write_text(
        "device: cpu\ndrives: 1\nmodel:\n  presample:\n    grid: {low: [-40.0, -40.0, -1.0], "
        "voxel_size: 0.4, size: [200, 200, 16]}\n"
    )
    weights = str(save_small_checkpoint(tmp_path / "weights.safetensors"))
    ours = [weights, out, "--frames", str(folder)]
    calls = [
        (train.main, [str(settings), "--out", out], "train: model.presample.grid: voxel_size must"),
        (calibrate.main, [nowhere, *ours[1:]], "calibrate: .*nowhere: expected a checkpoint"),
        (calibrate.main, ours, "calibrate: .*prepared otherwise .*for_training"),
        (calibrate.main, [*ours, "--priors", nowhere], "calibrate: --priors: expected"),
        (calibrate.main, [weights, out, "--frames", weights], "calibrate: .*File exists"),
        (calibrate.main, [*ours, "--drives", "0"], "expected 1 or more, got 0"),
    ]
    for main, arguments, message in calls:
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and re.search(message, error) and "Traceback" not in error, error
