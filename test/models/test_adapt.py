"""Adaptation end to end on a tiny recording: what is read, what is held back, what is done again and what is not."""

import json
import re
import shutil

import numpy as np
import pytest
from helpers.tiny_nuscenes import SCENE, TinyRoot
from helpers.tiny_teacher import TABLE, write_teacher
from helpers.tiny_training import SETTINGS, make_frame

from models import adapt, train
from models.adaptation.measure import of_labels, true_occupancy
from models.adaptation.report import lines
from models.evaluation.nuscenes_frames import NuScenesFrames
from models.training import calibrate
from occfusion_ros.core.errors import ContractError, DatasetError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE, Label
from occfusion_ros.datasets.lidarseg_occupancy import occupancy_file, save_semantics
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.network.checkpoint import load_checkpoint
from occfusion_ros.runtime.artifact import load_artifact

SAMPLES = 12  # 4 of them held back


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return TinyRoot(tmp_path_factory.mktemp("recording") / "root", samples=SAMPLES)


@pytest.fixture
def command(root, tmp_path, small_artifact, monkeypatch):
    """The command line of a small adaptation; what renders drives or exports networks is replaced."""

    def frames(folder, seeds, *_, **__):
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{seed}.npz" for seed in seeds]
        for path in paths:
            make_frame(int(path.stem)).save(path)
        return paths

    def export(module, *arguments):
        if module == "export.to_onnx":
            shutil.copytree(small_artifact, arguments[1])

    for module in (train, calibrate):
        monkeypatch.setattr(module, "prepare_all", frames)
    monkeypatch.setattr(adapt, "_run", export)
    settings = tmp_path / "settings.yaml"
    settings.write_text(json.dumps({**SETTINGS, "steps": 3, "mixed_drives": 2, "pictures": 0}))
    teacher = write_teacher(tmp_path / "teacher.onnx", {**TABLE, "size": [64, 96]})
    return [
        *(str(root.root), "--from", str(small_artifact), "--out", str(tmp_path / "out")),
        *("--teacher", str(teacher), "--config", str(settings), "--validation-drives", "1"),
    ]


def test_a_recording_without_labels_is_adapted_to(root, command, tmp_path, small_artifact, capsys):
    assert adapt.main(command) == 0
    out, reader = tmp_path / "out", NuScenesReader(root.root)
    tokens = list(reader.samples(SCENE))
    written = {path.stem for path in (out / "labels/occupancy").glob("*.npz")}
    assert written == {reader.lidar_record(token).token for token in tokens[:8]}, "the last ones are held back"
    model, metadata = load_checkpoint(out / "calibrated.safetensors")
    before, _ = load_checkpoint(small_artifact / "weights.safetensors")
    assert (model.coarse_head.weight != before.coarse_head.weight).any()
    assert "10 frames of" in metadata["trained_on"] and "2 synthetic drives" in metadata["trained_on"]
    report = json.loads((out / "report.json").read_text())
    assert report["about"]["recording"] == "root: 8 frames adapted to, 4 held back"
    held = report["sets"]["frames held back"]
    assert held["before"] == held["after"], "the stand-in for the export gives the model back as it was"
    assert 0 <= held["after"]["points"]["right"] <= 1 and held["after"]["points"]["points"] > 0
    assert report["sets"]["frames adapted to"]["after"]["points"]["points"] > held["after"]["points"]["points"]
    assert re.fullmatch(
        r"[01]\.\d+ of the returns have a class, [01]\.\d+ of these the true group \(truth\)",
        report["about"]["labels that were trained on"],
    )
    assert 0 <= report["sets"]["synthetic validation"]["after"]["iou"] <= 1
    assert "| frames held back | returns with their true group" in (out / "report.md").read_text()
    assert (out / "report.png").stat().st_size > 10_000
    stamps = {path: path.stat().st_mtime_ns for path in [*out.glob("labels/*/*.npz"), out / "calibrated.safetensors"]}
    assert adapt.main(command) == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}, "what is there is not made again"
    with pytest.raises(SystemExit):
        adapt.main([*command, "--held-back", "0.25"])
    assert "these frames were prepared otherwise (frames:" in capsys.readouterr().err


def test_labels_of_the_root_are_not_read(root, command, tmp_path, small_artifact):
    artifact, split = load_artifact(small_artifact), {SCENE: ([f"sample{i}" for i in range(3)], ["sample9"])}
    bare = tmp_path / "bare"
    shutil.copytree(root.root, bare)
    shutil.rmtree(bare / "lidarseg")
    for table in ("lidarseg", "sample_annotation", "instance", "category"):
        (bare / f"v1.0-mini/{table}.json").unlink()
    for folder in (root.root, bare):
        recorded = NuScenesFrames(NuScenesReader(folder))
        adapt.write_labels(recorded, split, artifact, [], tmp_path / f"labels_{folder.name}", False)
    ours, theirs = (sorted((tmp_path / f"labels_{name}/occupancy").glob("*.npz")) for name in (root.root.name, "bare"))
    assert len(ours) == len(theirs) == 3
    for one, other in zip(ours, theirs):
        with np.load(one) as a, np.load(other) as b:
            assert np.array_equal(a["semantics"], b["semantics"])
            assert (a["semantics"] == 0).any() and (a["semantics"] == IGNORE).any()


def test_labels_are_held_against_the_truth(root, tmp_path):
    recorded, frames = NuScenesFrames(NuScenesReader(root.root)), {SCENE: ["sample0", "sample1"]}
    for token, wrong in zip(frames[SCENE], (False, True)):
        points, true = recorded.frame(SCENE, token).points[:, :3], recorded.reader.lidarseg(token)
        semantics, (index, inside) = np.full(GridSpec().size, IGNORE, np.uint8), GridSpec().indices(points)
        semantics[tuple(index[inside].T)] = Label.VEGETATION if wrong else true[inside]
        save_semantics(occupancy_file(recorded.reader, tmp_path, token), semantics)
    found = [
        of_labels(NuScenesReader(root.root, occupancy_root=tmp_path), recorded, {SCENE: [token]})
        for token in frames[SCENE]
    ]
    assert found[0]["named"] > 0.9 and found[0]["right"] > 0.9 and found[1]["named"] == 1
    assert found[1]["right"] < 0.5
    assert of_labels(recorded.reader, recorded, {}) is None


def test_frames_are_held_back_at_the_end_of_each_scene_or_as_whole_scenes(root):
    reader = NuScenesReader(root.root)
    kept, held = adapt.split(reader, [SCENE], 0.3)[SCENE]
    assert kept == [f"sample{i}" for i in range(8)] and held == [f"sample{i}" for i in range(8, 12)]
    with pytest.raises(DatasetError, match="at least 8 key frames to adapt to, and some held back, got 6 and 6"):
        adapt.split(reader, [SCENE], 0.5)
    with pytest.raises(DatasetError, match="got 12 and 0"):
        adapt.split(reader, [SCENE], 0.0)
    with pytest.raises(DatasetError, match="got 0 and 12"):
        adapt.split(reader, [SCENE], 0.3, test=[SCENE])
    with pytest.raises(DatasetError, match="no scene 'other'"):
        adapt.split(reader, ["other"], 0.3)


def test_what_is_wrong_is_one_sentence(command, capsys):
    for change, message in (
        (["--from", "nowhere/at/all"], "no such file"),
        (["--scene", "other"], "no scene 'other'"),
        (["--set", "batch=0"], "batch must be at least 1"),
        (["--teacher", "missing.onnx"], "missing.yaml"),
    ):
        with pytest.raises(SystemExit):
            adapt.main([*command, *change])
        assert message in capsys.readouterr().err


def test_an_export_that_fails_is_said():
    with pytest.raises(ContractError, match="python -m export.nothing weights failed"):
        adapt._run("export.nothing", "weights")


def test_the_page_shows_what_was_measured_and_nothing_else():
    groups = {"right": 0.5, "miou": 0.25, "points": 4, "iou": {"road": 0.5, "two_wheeler": 0.0, "person": None}}
    better = {**groups, "right": 0.75, "iou": {"road": 0.75, "two_wheeler": 0.1, "person": None}}
    sets = {
        "held": {"before": {"passed": 0.1, "points": groups}, "after": {"passed": 0.05, "points": better}},
        "synthetic": {"before": {"iou": 0.6}, "after": {"iou": 0.61}},
    }
    page = "\n".join(lines(sets, {"model": "nano"}))
    assert "| held | returns with their true group of seven (truth) | 0.500 | 0.750 | +0.250 |" in page
    assert "| two-wheeler | 0.000 | 0.100 |" in page and "person" not in page
    assert (
        "| synthetic | occupancy IoU (truth) | 0.600 | 0.610 | +0.010 |" in page and "mIoU" not in page.split("\n")[4]
    )


def test_what_a_model_has_labeled_is_no_truth(tmp_path):
    reader = NuScenesReader(TinyRoot(tmp_path).root)
    (tmp_path / "occupancy").mkdir()
    path = tmp_path / "occupancy" / f"{reader.lidar_record('sample0').token}.npz"
    np.savez_compressed(path, semantics=np.zeros(GridSpec().size, np.uint8))
    assert true_occupancy(reader, "sample0") is not None and true_occupancy(reader, "sample1") is None
    (tmp_path / "manifest.json").write_text("{}")
    assert true_occupancy(reader, "sample0") is None
