"""Adapt a model to a vehicle from recordings without labels: `python -m models.adapt ROOT --from models/zoo/nano`.

ROOT is a data root in the nuScenes table format with sweeps, images and poses; labels in it are not read. Teachers,
which are 2-D segmentation networks of yours, and the model itself name the returns, rays give occupied and free space,
and the model is trained on that together with synthetic frames, so that it forgets nothing. Then it is calibrated,
exported and measured, on frames that were held back too. A run that is killed goes on where it was.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch.distributed as dist

from occfusion_ros.core.command import number, one_sentence, parser_of
from occfusion_ros.core.errors import ContractError, DatasetError
from occfusion_ros.datasets.lidarseg_occupancy import occupancy_file, save_semantics
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.network.checkpoint import load_checkpoint
from occfusion_ros.runtime.artifact import Artifact, load_artifact
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline

from .adaptation.measure import measure, of_labels
from .adaptation.pseudo_labels import label
from .adaptation.report import AFTER, BEFORE, write
from .adaptation.teacher import Teacher
from .evaluation.nuscenes_frames import NuScenesFrames, split_last
from .train import Trainer, prepare
from .training import calibrate
from .training.augment import crop
from .training.config import TrainConfig, load_config
from .training.data import PreparedFrame
from .training.distributed import join_processes
from .training.manifest import claim
from .training.prepare import FRAMES_PER_DRIVE

FEWEST = 8  # frames to adapt to
LABELS_VERSION = 1  # of the making of pseudo-labels
Split = dict[str, tuple[list[str], list[str]]]


def split(reader: NuScenesReader, scenes: Sequence[str], held_back: float, test: Sequence[str] = ()) -> Split:
    """Key frames to adapt to and those held back, by scene: the last of each scene, and all of the scenes in `test`.

    Raises:
        DatasetError: too few are left to adapt to, or none is held back.
    """
    result: Split = {}
    for scene in dict.fromkeys((*scenes, *test)):
        share = 1.0 if scene in test else 0.0 if test else held_back
        result[scene] = split_last(reader.samples(scene), share)
    kept, held = (sum(len(part[i]) for part in result.values()) for i in (0, 1))
    if kept < FEWEST or not held:
        raise DatasetError(
            f"{reader.root}: expected at least {FEWEST} key frames to adapt to, and some held back, got {kept} and "
            f"{held}: record more, or change --held-back"
        )
    return result


def write_labels(
    recorded: NuScenesFrames, frames: Split, artifact: Artifact, teachers: Sequence[Teacher], out: Path, fresh: bool
) -> None:
    """Write occupancy labels of the frames to adapt to, where they are not there yet; see `lidarseg_occupancy`."""
    made_by = {
        "version": LABELS_VERSION,
        "data": str(recorded.reader.root.resolve()),
        "frames": {scene: kept for scene, (kept, _) in frames.items() if kept},
        "model": artifact.contract.fuser.files["weights"].sha256,
        "teachers": [teacher.digest for teacher in teachers],
    }
    claim(out / "occupancy", made_by, fresh)
    pipeline = None
    for scene, (kept, _) in frames.items():
        if all(occupancy_file(recorded.reader, out, token).exists() for token in kept):
            continue
        pipeline = pipeline or Pipeline.load(artifact.folder)
        for token, semantics in label(recorded, scene, kept, pipeline, teachers):
            save_semantics(occupancy_file(recorded.reader, out, token), semantics)


def weights_of(artifact: Artifact) -> Path:
    """The checkpoint of an artifact, to train on."""
    if "weights" not in artifact.contract.fuser.files:
        raise ContractError(f"{artifact.folder}: expected an artifact with its weights: export it anew")
    return artifact.folder / artifact.contract.fuser.files["weights"].name


def train(options: argparse.Namespace, config: TrainConfig, artifact: Artifact, scenes: Sequence[str]) -> TrainConfig:
    """Train on the labels and on synthetic frames; returns the settings."""
    config = replace(
        config,
        data=str(options.root),
        occupancy=str(options.out / "labels"),
        scenes=tuple(scenes),
        init=str(weights_of(artifact)),
        frames=config.frames or str(options.out / "frames"),
    )
    model_config = load_checkpoint(weights_of(artifact))[0].config
    run = options.out / "run"
    run.mkdir(parents=True, exist_ok=True)
    paths = prepare(config, run, model_config, options.fresh)
    Trainer(config, paths, run, model_config).run()
    return config


def export(options: argparse.Namespace, config: TrainConfig) -> Path:
    """Calibrate the trained weights and export them, with their confidence measured; the artifact's folder."""
    calibrated, folder = options.out / "calibrated.safetensors", options.out / "artifact"
    validation = ["--frames", str(options.out / "validation"), "--drives", str(options.validation_drives)]
    validation += ["--workers", str(config.workers)]
    if not calibrated.exists():
        calibrate.main([str(options.out / "run/weights.safetensors"), str(calibrated), *validation])
    if not (folder / "contract.yaml").exists():
        partial = options.out / "artifact.partial"
        data = ["--data", str(options.root), "--frames", "2"]
        _run("export.to_onnx", str(calibrated), str(partial), *data)
        _run("export.confidence", str(partial), *validation)
        partial.rename(folder)
    return folder


def _run(module: str, *arguments: str) -> None:
    """Run another command of the checkout, which this room may not import."""
    result = subprocess.run([sys.executable, "-m", module, *arguments], cwd=Path(__file__).resolve().parents[1])
    if result.returncode:
        raise ContractError(f"python -m {module} {' '.join(arguments)} failed; see above")


def report(
    options: argparse.Namespace, recorded: NuScenesFrames, frames: Split, teachers: Sequence[Teacher], folder: Path
) -> Path:
    """Measure both models on the frames held back, on unseen roots and on synthetic drives; the report's page."""
    settings = BackendSettings(precision="fp32")
    models = {BEFORE: options.artifact, AFTER: folder}
    pipelines = {when: Pipeline.load(model, settings=settings) for when, model in models.items()}
    parts = [{scene: part[i] for scene, part in frames.items() if part[i]} for i in (0, 1)]
    adapted_to, held = (measure(pipelines, recorded, part, teachers) for part in parts)
    labels = of_labels(NuScenesReader(options.root, occupancy_root=options.out / "labels"), recorded, parts[0])
    pictures = {when: figures.last for when, figures in held.items()}
    sets = {"frames held back": held, "frames adapted to": adapted_to}
    for root in options.unseen:
        others = NuScenesFrames(NuScenesReader(root))
        for scene in others.reader.scenes():
            sets[f"{scene} (unseen)"] = measure(
                pipelines, others, {scene: list(others.reader.samples(scene))}, teachers
            )
    as_json = {name: {when: figures.as_json() for when, figures in both.items()} for name, both in sets.items()}
    as_json["synthetic validation"] = {when: synthetic(options, load_artifact(model)) for when, model in models.items()}
    kept, count = (sum(len(part[i]) for part in frames.values()) for i in (0, 1))
    about = {
        "recording": f"{options.root.name}: {kept} frames adapted to, {count} held back",
        "model": f"{options.artifact.name}, both in float32",
        "teachers": ", ".join(teacher.path.stem for teacher in teachers) or "none but the model itself",
    }
    if labels:
        about["labels that were trained on"] = (
            f"{labels['named']:.3f} of the returns have a class, {labels['right']:.3f} of these the true group (truth)"
        )
    return write(options.out, as_json, about, pictures)


def synthetic(options: argparse.Namespace, artifact: Artifact) -> dict[str, float]:
    """Occupancy IoU and mIoU of a model's weights on the synthetic validation frames."""
    model, _ = load_checkpoint(weights_of(artifact))
    paths = sorted((options.out / "validation").glob("*.npz"))[: options.validation_drives * FRAMES_PER_DRIVE]
    frames = [crop(PreparedFrame.load(path), model.config.presample.grid) for path in paths]
    matrix = calibrate.measure(model, frames)
    return {"iou": matrix.iou(), "miou": matrix.miou()}


def start_again(out: Path) -> None:
    """Remove what is not made anew by itself where it was made otherwise."""
    for name in ("run/state.pt", "run/log.csv", "calibrated.safetensors", "artifact/contract.yaml"):
        (out / name).unlink(missing_ok=True)


def parse(argv: list[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """The command line."""
    parser = parser_of("python -m models.adapt", __doc__)
    parser.add_argument("root", type=Path, help="data root in the nuScenes format; its labels are not read")
    parser.add_argument("--from", type=Path, default=Path("models/zoo/nano"), dest="artifact", help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/adapted"), help="folder for everything (%(default)s)")
    parser.add_argument(
        "--teacher", type=Path, action="append", default=[], metavar="FILE.onnx",
        help="segmentation network, its class table in FILE.yaml beside it; may be given again",
    )  # fmt: skip
    parser.add_argument("--scene", action="append", default=[], help="adapt to this scene; may be given again (all)")
    parser.add_argument(
        "--held-back", type=number(float, 0, 1), default=0.3, help="last share of each scene (%(default)s)"
    )
    parser.add_argument("--test", action="append", default=[], metavar="SCENE", help="hold this scene back instead")
    parser.add_argument("--config", type=Path, default=Path("models/configs/adapt.yaml"), help="(%(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes", help="of CONFIG")
    parser.add_argument(
        "--validation-drives", type=number(int, 1), default=6, help="synthetic drives to calibrate on (%(default)s)"
    )
    parser.add_argument(
        "--unseen", type=Path, action="append", default=[], metavar="ROOT",
        help="report on this root too, which nothing is trained on; may be given again",
    )  # fmt: skip
    parser.add_argument("--fresh", action="store_true", help="start again where settings have changed")
    return parser, parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser, options = parse(argv)
    with one_sentence(parser, "adapt"):
        config, _ = load_config(options.config, [f"data={options.root}", *options.changes])
        artifact = load_artifact(options.artifact)
        recorded = NuScenesFrames(NuScenesReader(options.root))
        frames = split(recorded.reader, options.scene or recorded.reader.scenes(), options.held_back, options.test)
        teachers = [Teacher(path) for path in options.teacher]
        options.out.mkdir(parents=True, exist_ok=True)
        join_processes(config.device)
        first = not dist.is_initialized() or dist.get_rank() == 0
        try:
            if first and options.fresh:
                start_again(options.out)
            if first:
                write_labels(recorded, frames, artifact, teachers, options.out / "labels", options.fresh)
            if dist.is_initialized():
                dist.barrier()
            config = train(options, config, artifact, [scene for scene, (kept, _) in frames.items() if kept])
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
        if first:
            folder = export(options, config)
            print(f"artifact: {folder}\nreport: {report(options, recorded, frames, teachers, folder)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
