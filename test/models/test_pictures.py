"""Labeled pictures: rendered, voted by teachers and returns, changed at random; and an image branch trained on them."""

import numpy as np
import pytest
import torch
from helpers.tiny_nuscenes import TinyRoot
from helpers.tiny_teacher import write_teacher

from models import train_images
from models.adaptation.teacher import Teacher
from models.training.augment import AugmentConfig
from models.training.image_weights import feature_backbone, load_images
from models.training.pictures import (
    STRIDE,
    Picture,
    changed,
    digest_of,
    load_pictures,
    of_drives,
    of_root,
    save_pictures,
    voted,
)
from occfusion_ros.core.errors import ContractError, DatasetError
from occfusion_ros.core.frames import CameraImage, SensorFrame
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.network.occfusion import ModelConfig
from occfusion_ros.presample.presampler import PresampleConfig
from synthetic import seeds

CONFIG = PresampleConfig(image_size=(64, 96))
SEED = seeds.TESTS[6]
CAR, ROAD, MANMADE = 4, 11, 15


def striped(colors: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8 of vertical stripes."""
    return np.repeat(colors[None], size[0], 0).repeat(size[1] // len(colors), 1)


def test_teachers_name_the_cell_that_shows_what_they_see(tmp_path):
    colors = np.diag([255, 255, 255]).astype(np.uint8)
    teacher = Teacher(write_teacher(tmp_path / "teacher.onnx"))
    intrinsics = np.array([[100.0, 0, 95.5], [0, 100.0, 63.5], [0, 0, 1]])
    camera = CameraImage("a", striped(colors, (128, 192)), intrinsics, np.eye(4))
    (picture,) = voted(SensorFrame(0, np.zeros((0, 4), np.float32), (camera,)), None, [teacher], CONFIG)
    names = [int(label) for label in np.argmax(teacher.votes[:3], axis=1)]
    assert picture.image.shape == (3, 64, 96) and picture.classes.shape == (8, 12)
    for third, name in enumerate(names):
        inner = picture.classes[:, 4 * third + 1 : 4 * third + 3]
        assert set(np.unique(inner)) <= ({name} if name else {IGNORE})


def test_returns_vote_against_teachers():
    intrinsics = np.array([[48.0, 0, 47.5], [0, 48.0, 31.5], [0, 0, 1]])
    camera = CameraImage("a", np.zeros((64, 96, 3), np.uint8), intrinsics, np.eye(4))
    points = np.array([[0.0, 0.0, 10.0, 0], [-5.0, 0.0, 10.0, 0], [5.0, 0.0, -10.0, 0]], np.float32)
    (picture,) = voted(SensorFrame(0, points, (camera,)), np.array([CAR, IGNORE, ROAD], np.uint8), [], CONFIG)
    assert picture.classes[32 // STRIDE, 48 // STRIDE] == CAR and (picture.classes != IGNORE).sum() == 1


def test_a_changed_picture_keeps_its_classes_where_they_are_seen():
    """Stripes whose brightness tells their class, whatever light and place they get."""
    names = np.array([CAR, ROAD, MANMADE, CAR, ROAD, MANMADE], np.uint8)
    bright = {CAR: 0, ROAD: 128, MANMADE: 255}
    image = striped(np.array([[bright[n]] * 3 for n in names], np.uint8), (64, 96)).transpose(2, 0, 1)
    picture = Picture(np.ascontiguousarray(image), np.repeat(names[None], 8, 0).repeat(2, 1))
    for seed in range(20):
        got = changed(picture, AugmentConfig(zoom=0.5, mirror=0.5), np.random.default_rng(seed))
        middles = got.image.mean(0)[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
        inside = got.classes != IGNORE
        means = [
            middles[inside & (got.classes == name)].mean()
            for name in (CAR, ROAD, MANMADE)
            if (got.classes == name).any()
        ]
        assert inside.mean() > 0.3 and means == sorted(means)


def test_rendered_pictures_show_the_classes_of_their_drive(tmp_path):
    first, *_ = of_drives(tmp_path, range(SEED, SEED + 1), CONFIG, "nuscenes", 1)
    pictures = load_pictures(first)
    assert len(pictures) == 6 and pictures[0].image.shape == (3, 64, 96) and pictures[0].classes.shape == (8, 12)
    classes = np.stack([picture.classes for picture in pictures])
    assert ROAD in classes and IGNORE in classes and 0 not in classes
    assert (classes[:, -2:] == ROAD).mean() > (classes[:, :2] == ROAD).mean()  # below
    with pytest.raises(DatasetError, match="rig"):
        of_drives(tmp_path, range(SEED, SEED + 1), CONFIG, "van", 1)
    for content in (b"bad", first.read_bytes()[:5000]):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(DatasetError, match="expected pictures"):
            load_pictures(tmp_path / "bad.npz")


def made_up(folder, *_) -> list:
    """A file of pictures whose left half is a dark car and whose right half is a bright wall."""
    rng, folder = np.random.default_rng(0), folder
    folder.mkdir(parents=True, exist_ok=True)
    image = np.repeat(np.repeat([[20, 230]], 48, 1), 64, 0)[None].repeat(3, 0) + rng.integers(-20, 20, (3, 64, 96))
    classes = np.repeat(np.repeat([[CAR, MANMADE]], 6, 1), 8, 0).astype(np.uint8)
    path = folder / "a.npz"
    save_pictures(path, [Picture(image.astype(np.uint8), classes)])
    return [path]


def test_an_image_branch_learns_goes_on_and_is_started_from(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train_images, "of_drives", made_up)
    monkeypatch.setattr(train_images, "of_root", made_up)
    write_teacher(tmp_path / "teacher.onnx")
    TinyRoot(tmp_path / "root")
    arguments = ["--steps", "16", "--batch", "1", "--size", "64", "96", "--drives", "1", "--threads", "1"]
    arguments += ["--root", str(tmp_path / "root"), "--teacher", str(tmp_path / "teacher.onnx"), "--held-back", "0"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train_images.main(["--out", str(whole), *arguments]) == 0
    original = train_images.Run.step

    def interrupted(run):
        if run.done == 8:
            raise KeyboardInterrupt
        return original(run)

    monkeypatch.setattr(train_images.Run.train, "__defaults__", (4,))
    monkeypatch.setattr(train_images.Run, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_images.main(["--out", str(parts), *arguments])
    monkeypatch.setattr(train_images.Run, "step", original)
    assert train_images.main(["--out", str(parts), *arguments]) == 0
    weights = whole / "images.safetensors"
    assert weights.read_bytes() == (parts / "images.safetensors").read_bytes()
    assert_refused(parts, arguments, monkeypatch, capsys)

    network = train_images.PictureNetwork(ModelConfig().width).eval()
    load_images(weights, network.backbone, network.pyramid)
    assert feature_backbone(weights)[1] and feature_backbone(None)[1] is None
    changed_blocks = [
        not torch.equal(ours, theirs)
        for ours, theirs in zip(network.backbone.parameters(), feature_backbone(None)[0].parameters())
    ]
    assert any(changed_blocks) and not all(changed_blocks)
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    with pytest.raises(ContractError, match="image branch"):
        load_images(tmp_path / "bad.safetensors", network.backbone)


def assert_refused(finished, arguments, monkeypatch, capsys) -> None:
    """Other settings than those of the finished run, and as many other pictures."""

    def refusal(*words: str) -> str:
        with pytest.raises(SystemExit):
            train_images.main(["--out", str(finished), *arguments, *words])
        message = capsys.readouterr().err.splitlines()[-1]
        assert message.endswith("give another --out, or remove this file to train anew")
        return message

    assert f"{finished / 'state.pt'} is of a run with other settings or pictures (batch):" in refusal("--batch", "2")
    assert "(width)" in refusal("--width", "16") and "(steps, width)" in refusal("--width", "16", "--steps", "8")
    path = finished / "real" / "a.npz"
    (picture,) = load_pictures(path)
    save_pictures(path, [Picture(picture.image, picture.classes[:, ::-1])])
    monkeypatch.setattr(train_images, "of_root", lambda *_: [path])
    assert "(real pictures)" in refusal()
    (finished / "state.pt").write_bytes(b"bad")
    with pytest.raises(SystemExit):
        train_images.main(["--out", str(finished), *arguments])
    assert "state.pt: expected the state of a training run, got" in capsys.readouterr().err


def test_pictures_of_other_content_or_name_are_others(tmp_path):
    (path,) = made_up(tmp_path)
    (picture,), first = load_pictures(path), digest_of([path])
    save_pictures(path, [picture])
    assert digest_of([path]) == first
    assert digest_of([path.rename(tmp_path / "b.npz")]) != first
    save_pictures(path, [Picture(picture.image, picture.classes[:, ::-1])])
    assert digest_of([path]) != first
    path.write_bytes(b"bad")
    with pytest.raises(DatasetError, match="expected pictures"):
        digest_of([path])


def test_other_teachers_of_the_same_name_label_anew(tmp_path):
    root, teacher = TinyRoot(tmp_path / "root").root, write_teacher(tmp_path / "teacher.onnx")
    of_root(tmp_path / "real", root, [Teacher(teacher)], CONFIG)
    table = teacher.with_suffix(".yaml")
    table.write_text(table.read_text() + "horizon: 0.4\n")
    with pytest.raises(DatasetError, match="prepared otherwise .*teachers"):
        of_root(tmp_path / "real", root, [Teacher(teacher)], CONFIG)


@pytest.mark.parametrize(
    "words",
    ["--size 72 128", "--rig nosuch", "--drives 0", "--root there"]
    + ["--drives -1", "--held-back nan", "--held-back 1.5", "--steps 0", "--batch 0", "--width 0", "--threads 0"],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(words, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train_images.main(["--out", str(tmp_path / "out"), *words.split()])
    assert "expected" in capsys.readouterr().err and not (tmp_path / "out").exists()
