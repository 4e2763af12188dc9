"""Train the image branch on labeled pictures: `python -m models.train_images --out out/images`.

Pictures of synthetic drives have exact labels. Real ones are labeled by teachers, 2-D segmentation networks as ONNX
files with a table of their classes beside them (docs/adaptation.md), and by lidarseg where a root has it. The image
backbone, but for its first blocks, and the feature pyramid learn to tell the classes of what a cell of 8 x 8 pixels
shows; `images: out/images/images.safetensors` in the settings of `models.train` starts from them. The run can be killed
at any moment: started again, it goes on from its last saved state.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from occfusion_ros.core.atomic import write_json
from occfusion_ros.core.command import number, one_sentence, parser_of
from occfusion_ros.core.errors import ContractError
from occfusion_ros.core.labels import IGNORE, NUM_LABELS, OPENOCCUPANCY_CLASSES
from occfusion_ros.network.backbone import EfficientNetLite0, FeaturePyramid
from occfusion_ros.presample.presampler import PresampleConfig

from .adaptation.teacher import Teacher
from .training.augment import AugmentConfig
from .training.image_weights import load_imagenet, save_images
from .training.pictures import Picture, changed, digest_of, load_pictures, of_drives, of_root
from .training.state import load_state, save_state

KEPT_BLOCKS = 5  # of the backbone's 16 that stay as they are: edges and textures, half of all operations
BACKBONE_RATE = 0.2  # learning rate of the backbone, relative to that of the pyramid
COARSE = 0.4  # weight of the loss of the second level
EMA = 0.995
STATE = "state.pt"
AUGMENT = AugmentConfig(zoom=0.5, mirror=0.5)


@dataclass(frozen=True)
class Settings:
    """What must not change while a run is interrupted, beside the pictures.

    Attributes:
        steps: optimizer steps. batch: pictures a step. width: channels of the pyramid.
        real: share of the pictures that are real, where there are any.
        learning_rate: peak of the one-cycle schedule (AdamW), of the pyramid. seed: of everything drawn.
    """

    steps: int = 4000
    batch: int = 4
    width: int = 32
    real: float = 0.5
    learning_rate: float = 2e-3
    seed: int = 0


class PictureNetwork(nn.Module):
    """The image branch with a linear classifier on each of its levels, which training alone needs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.backbone = EfficientNetLite0()
        load_imagenet(self.backbone)
        self.pyramid = FeaturePyramid(self.backbone.channels, width)
        self.heads = nn.ModuleList(nn.Conv2d(width, NUM_LABELS, 1) for _ in range(2))
        self.backbone.requires_grad_(False)
        self.backbone._blocks[KEPT_BLOCKS:].requires_grad_(True)

    def train(self, mode: bool = True) -> "PictureNetwork":
        """As of every module, but batch norms keep what ImageNet taught them: batches are small."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, h, w) uint8 to logits (N, 17, h / 8, w / 8) and (N, 17, h / 16, w / 16)."""
        return [head(level) for head, level in zip(self.heads, self.pyramid(self.backbone(images)))]


class Run:
    """One training run: network, averaged network, optimizer and schedule.

    Args:
        synthetic, real: files of pictures; one of them may be empty. out: folder for everything that is written.
    """

    def __init__(self, settings: Settings, synthetic: list[Path], real: list[Path], out: Path) -> None:
        self.settings, self.synthetic, self.real, self.out = settings, synthetic, real, out
        self.kept = vars(settings) | {"synthetic pictures": digest_of(synthetic), "real pictures": digest_of(real)}
        torch.manual_seed(settings.seed)
        self.network = PictureNetwork(settings.width).to(memory_format=torch.channels_last)
        self.average = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(EMA))
        rest = [*self.network.pyramid.parameters(), *self.network.heads.parameters()]
        learnt = [p for p in self.network.backbone.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW([{"params": rest}, {"params": learnt}], settings.learning_rate)
        rates = [settings.learning_rate, settings.learning_rate * BACKBONE_RATE]
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, rates, settings.steps, pct_start=0.1)
        self.weights = class_weights([*synthetic, *real])

    @property
    def done(self) -> int:
        """Optimizer steps so far."""
        return self.schedule.last_epoch

    def train(self, save_every: int = 100) -> None:
        """Train to the end from where the last saved state stands."""
        self.resume()
        self.network.train()
        with tqdm(total=self.settings.steps, initial=self.done, unit="step", mininterval=5) as bar:
            while self.done < self.settings.steps:
                bar.set_postfix_str(f"{self.step():.3f}", refresh=False)
                bar.update()
                if self.done % save_every == 0 or self.done == self.settings.steps:
                    self.save()

    def step(self) -> float:
        """One optimizer step; the loss."""
        rng = np.random.default_rng([self.settings.seed, self.done])
        torch.manual_seed(self.settings.seed + self.done)
        pictures = [self.draw(rng) for _ in range(self.settings.batch)]
        images = torch.from_numpy(np.stack([p.image for p in pictures])).contiguous(memory_format=torch.channels_last)
        classes = torch.from_numpy(np.stack([p.classes for p in pictures])).long()
        fine, coarse = self.network(images)
        loss = self.loss(fine, classes) + COARSE * self.loss(coarse, classes[:, 1::2, 1::2])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.network)
        return loss.item()

    def draw(self, rng: np.random.Generator) -> Picture:
        """A picture, changed at random."""
        real = self.real and (not self.synthetic or rng.random() < self.settings.real)
        paths = self.real if real else self.synthetic
        pictures = load_pictures(paths[rng.integers(len(paths))])
        return changed(pictures[rng.integers(len(pictures))], AUGMENT, rng)

    def loss(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Weighted cross-entropy over the cells that have a class."""
        total = F.cross_entropy(logits.float(), classes, self.weights, ignore_index=IGNORE, reduction="sum")
        return total / self.weights[classes[classes != IGNORE]].sum().clamp(min=1)

    def save(self) -> None:
        """Write the state, and the weights."""
        parts = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimizer", "schedule")}
        save_state(self.out / STATE, {"settings": self.kept, **parts})
        save_images(self.out / "images.safetensors", self.average.module.backbone, self.average.module.pyramid)

    def resume(self) -> None:
        """Go on from the last saved state, if there is one."""
        if state := state_of(self.out, self.kept):
            for name in ("network", "average", "optimizer", "schedule"):
                getattr(self, name).load_state_dict(state[name])
            print(f"resuming after step {self.done} of {self.settings.steps}", file=sys.stderr)


def state_of(out: Path, kept: dict[str, Any]) -> dict[str, Any] | None:
    """The state that a run saved in a folder; None where there is none.

    Args:
        kept: settings that the run must have had.

    Raises:
        ContractError: it had others, or the file is no state.
    """
    path = out / STATE
    if not path.exists():
        return None
    state = load_state(path)
    changed = [name for name, value in kept.items() if state["settings"].get(name) != value]
    if changed:
        raise ContractError(
            f"{path} is of a run with other settings or pictures ({', '.join(changed)}): give another --out, or remove "
            "this file to train anew"
        )
    return state


def class_weights(paths: list[Path]) -> torch.Tensor:
    """(17,) inverse square root of how often a class is seen in a part of the pictures, with a mean of 1, at most 4."""
    counts = np.ones(NUM_LABELS)
    for path in paths[:: max(1, len(paths) // 64)]:
        for picture in load_pictures(path):
            counts += np.bincount(picture.classes.ravel(), minlength=256)[:NUM_LABELS]
    weights = np.sqrt(counts.sum() / counts)
    share = counts / counts.sum()
    return torch.tensor((weights / (weights * share).sum()).clip(max=4), dtype=torch.float32)


@torch.inference_mode()
def measure(network: PictureNetwork, paths: list[Path]) -> dict[str, Any]:
    """Of pictures that were not trained on: share of labeled cells right, IoU by class and their mean."""
    matrix = np.zeros((NUM_LABELS, NUM_LABELS), np.int64)
    for path in tqdm(paths, "measuring", unit="frame"):
        for picture in load_pictures(path):
            found = network(torch.from_numpy(picture.image)[None])[0][0, 1:].argmax(0).numpy() + 1
            known = picture.classes < NUM_LABELS
            pairs = picture.classes[known].astype(np.int64) * NUM_LABELS + found[known]
            matrix += np.bincount(pairs, minlength=matrix.size).reshape(matrix.shape)
    union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    iou = {
        one.name: float(matrix[one.label, one.label] / union[one.label])
        for one in OPENOCCUPANCY_CLASSES
        if matrix[one.label].sum()
    }
    return {
        "frames": len(paths),
        "right": float(np.trace(matrix) / max(matrix.sum(), 1)),
        "miou": float(np.mean(list(iou.values()))) if iou else 0.0,
        "iou": iou,
    }


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m models.train_images", __doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures, state and weights")
    parser.add_argument(
        "--drives", type=number(int, 0), default=100, help="synthetic drives of 4 frames (%(default)s); 0: none"
    )
    parser.add_argument("--first-seed", type=number(int, 0), default=1000, help="seed of the first drive (%(default)s)")
    parser.add_argument("--rig", default="mixed", help="cameras of the drives, as in models.train (%(default)s)")
    parser.add_argument("--root", type=Path, help="nuScenes data root with real pictures")
    parser.add_argument("--teacher", type=Path, nargs="+", default=[], help="ONNX files that label them")
    parser.add_argument(
        "--held-back", type=number(float, 0, 1), default=0.3, help="share of the root's frames, the last (%(default)s)"
    )
    parser.add_argument("--steps", type=number(int, 1), default=Settings.steps, help="optimizer steps (%(default)s)")
    parser.add_argument("--batch", type=number(int, 1), default=Settings.batch, help="pictures a step (%(default)s)")
    parser.add_argument("--size", type=int, nargs=2, default=None, metavar=("H", "W"), help="of the pictures")
    parser.add_argument(
        "--width",
        type=number(int, 1),
        default=Settings.width,
        help="channels of the pyramid, as of the model (%(default)s)",
    )
    parser.add_argument("--workers", type=number(int, 1), default=2, help="processes that render (%(default)s)")
    parser.add_argument("--threads", type=number(int, 1), default=2, help="CPU threads that train (%(default)s)")
    options = parser.parse_args(argv)
    with one_sentence(parser, "train_images"):
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    config = PresampleConfig() if options.size is None else PresampleConfig(image_size=tuple(options.size))
    if any(edge < 32 or edge % 32 for edge in config.image_size):
        raise ContractError(f"--size: expected multiples of 32, got {' '.join(map(str, config.image_size))}")
    if bool(options.root) != bool(options.teacher):
        raise ContractError("expected --root and --teacher together, or neither")
    if options.drives + bool(options.root) <= 0:
        raise ContractError("expected --drives above 0 or --root, got neither: nothing to train on")
    settings = Settings(options.steps, options.batch, options.width)
    state_of(options.out, vars(settings))  # before pictures are made that are not needed
    seeds = range(options.first_seed, options.first_seed + options.drives)
    synthetic = of_drives(options.out / "synthetic", seeds, config, options.rig, options.workers) if seeds else []
    real, held = [], []
    if options.root:
        teachers = [Teacher(path) for path in options.teacher]
        paths = of_root(options.out / "real", options.root, teachers, config)
        kept = len(paths) - int(len(paths) * options.held_back)
        real, held = paths[:kept], paths[kept:]
    if not synthetic and not real:
        raise ContractError(f"expected --held-back to leave a frame to train on, got {options.held_back:g}")
    torch.set_num_threads(options.threads)
    run = Run(settings, synthetic, real, options.out)
    run.train()
    figures = measure(run.average.module.eval(), held) if held else {}
    write_json(options.out / "figures.json", figures)
    if held:
        print(f"{len(held)} frames held back: {figures['right']:.3f} of the cells right, mIoU {figures['miou']:.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
