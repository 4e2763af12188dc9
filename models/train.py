"""Train OccFusion on synthetic drives with active training: `python -m models.train OUT`.

Each epoch trains on every sample once, ranks the samples by their loss, and trains the hardest share again.
"""

import argparse
import csv
import os
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from occfusion_ros.core.labels import IGNORE, NUM_LABELS
from occfusion_ros.presample.children import describe_children
from occfusion_ros.presample.presampler import FuserInputs, Presampler

from .checkpoint import load_torch, save_checkpoint
from .data import PreparedFrame, Sample, augment, make_sample, prepare_all
from .losses import occupancy_loss, semantic_loss
from .occfusion import FuserOutput, ModelConfig, OccFusion, entropy


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run; each is a command-line option.

    Attributes:
        drives: synthetic drives to train on; each gives 4 frames.
        first_seed: seed of the first drive; drive i has seed first_seed + i.
        epochs: passes over the data, each with its second pass over the hard samples.
        active_share: share of the samples, hardest first, that each epoch trains again; 0 turns it off.
        batch: frames a step.
        learning_rate: peak of the one-cycle cosine schedule (AdamW).
        weight_decay: of AdamW.
        clip: largest gradient norm.
        ema: decay of the averaged weights, which are the ones that are kept.
        refined: challenging voxels of each frame that are refined while training.
        seed: of weights, order and augmentation.
        device: cpu, cuda, or auto for a GPU where there is one.
        threads: CPU threads.
        workers: processes that prepare frames.
    """

    drives: int = 120
    first_seed: int = 1000
    epochs: int = 6
    active_share: float = 0.7
    batch: int = 2
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    clip: float = 10.0
    ema: float = 0.995
    refined: int = 512
    seed: int = 0
    device: str = "auto"
    threads: int = 2
    workers: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.active_share <= 1:
            raise ValueError(f"active_share must lie in 0..1, got {self.active_share}")
        for name in ("drives", "epochs", "batch", "refined", "threads", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def stack(samples: list[Sample]) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Batched fuser arguments (images left out: the features stand for them) and features (B * 6, C, h, w)."""
    names = [name for name in FuserInputs.ENGINE_INPUTS if name != "images"]
    batch = {name: torch.stack([getattr(s.inputs, name) for s in samples]) for name in names}
    levels = [torch.cat(level) for level in zip(*(s.features for s in samples))]
    return batch, [level.contiguous(memory_format=torch.channels_last) for level in levels]


def refine_hardest(model: OccFusion, output: FuserOutput, samples: list[Sample], presampler: Presampler,
                   budget: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, K, 64, 17) and truth (B, K, 64) of the children of the most uncertain voxels."""
    parents = entropy(output.coarse.detach()).topk(budget, dim=1).indices
    children = [describe_children(p, presampler, s.inputs.image_from_grid, s.inputs.returns).engine_inputs()
                for p, s in zip(parents, samples)]
    batch = {name: torch.stack([c[name] for c in children]) for name in children[0]}
    logits = model.refine(output, **batch, count=len(samples[0].inputs.image_from_grid))
    return logits, torch.stack([s.targets.children[p] for p, s in zip(parents, samples)])


def sample_losses(model: OccFusion, samples: list[Sample], presampler: Presampler, budget: int,
                  class_weights: torch.Tensor) -> torch.Tensor:
    """(B, 3) loss of each sample: coarse semantics, sub-voxel occupancy, refined semantics.

    The first two are taken over every third voxel with a random start: the same in expectation at a third of the cost.
    """
    batch, features = stack(samples)
    with torch.autocast(presampler.device.type, torch.bfloat16):
        output = model.fuse(features, **batch)
        refined, truth = refine_hardest(model, output, samples, presampler, budget)
    rows = []
    for index, sample in enumerate(samples):
        some = slice(int(torch.randint(3, ())), None, 3)
        children = sample.targets.children[some]
        occupied = torch.where(children == IGNORE, IGNORE, (children > 0).byte())
        rows.append(torch.stack([
            semantic_loss(output.coarse[index, some], sample.targets.coarse[some], class_weights),
            occupancy_loss(output.occupancy[index, some], occupied),
            semantic_loss(refined[index].flatten(0, 1), truth[index].flatten(), None)]))
    return torch.stack(rows)


def class_weights(frames: list[PreparedFrame]) -> torch.Tensor:
    """(17,) OpenOccupancy's 1 / log(frequency), from voxel counts, scaled to a mean of 1 over the classes."""
    counts = sum(np.bincount(f.semantics[::2, ::2, ::2].ravel(), minlength=256)[:NUM_LABELS] for f in frames)
    weights = 1 / np.log(np.asarray(counts, np.float64) * 8 + 10)
    return torch.tensor(weights / weights[1:].mean(), dtype=torch.float32)


class Trainer:
    """One training run: model, averaged model, optimiser and schedule, resumable after every epoch."""

    def __init__(self, config: TrainConfig, paths: list[Path], out: Path, model_config: ModelConfig) -> None:
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        self.config, self.paths, self.out = config, paths, out
        automatic = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(automatic if config.device == "auto" else config.device)
        self.model = OccFusion(model_config).to(self.device)
        self.model.backbone.load_imagenet()
        self.model.backbone.eval().requires_grad_(False)
        self.presampler = Presampler(model_config.presample, self.device)
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, config.learning_rate, weight_decay=config.weight_decay)
        hard = int(len(paths) * config.active_share)
        steps = config.epochs * (-(-len(paths) // config.batch) + -(-hard // config.batch))
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimiser, config.learning_rate, steps, pct_start=0.1)
        self.grid = model_config.presample.grid
        some = [self.load(i) for i in range(0, len(paths), max(1, len(paths) // 32))]
        self.class_weights = class_weights(some).to(self.device)
        self.epoch = 0

    def load(self, index: int) -> PreparedFrame:
        """Read one prepared frame."""
        return PreparedFrame.load(self.paths[index], self.grid)

    def run(self) -> None:
        """Train to the last epoch, saving after each."""
        self.resume()
        while self.epoch < self.config.epochs:
            rng = np.random.default_rng([self.config.seed, self.epoch])
            torch.manual_seed(int(rng.integers(2**31)))  # an epoch draws the same numbers after a resume
            order = rng.permutation(len(self.paths))
            losses = self.train_pass(order, rng, "all")
            hard = order[np.argsort(-losses)][: int(len(order) * self.config.active_share)]
            self.train_pass(rng.permutation(hard), rng, "hard")
            self.epoch += 1
            self.save()

    def train_pass(self, order: np.ndarray, rng: np.random.Generator, name: str) -> np.ndarray:
        """Train on the given samples once; returns the loss of each in the same order."""
        self.model.train()
        self.model.backbone.eval()
        losses = []
        bar = tqdm(range(0, len(order), self.config.batch), f"epoch {self.epoch + 1} {name}", mininterval=5)
        for start in bar:
            chosen = order[start:start + self.config.batch]
            samples = [make_sample(augment(self.load(i), rng), self.presampler) for i in chosen]
            terms = self.step(samples)
            losses.extend(terms.sum(1).tolist())
            self.log(name, terms)
            bar.set_postfix_str(" ".join(f"{v:.2f}" for v in terms.mean(0).tolist()))
        return np.array(losses)

    def step(self, samples: list[Sample]) -> torch.Tensor:
        """One optimiser step; the loss terms (B, 3)."""
        terms = sample_losses(self.model, samples, self.presampler, self.config.refined, self.class_weights)
        self.optimiser.zero_grad(set_to_none=True)
        terms.sum(1).mean().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.model)
        return terms.detach().cpu()

    def log(self, name: str, terms: torch.Tensor) -> None:
        """Append the step's losses to log.csv."""
        with open(self.out / "log.csv", "a", newline="") as file:
            row = [self.epoch, name, self.schedule.last_epoch, *(f"{v:.4f}" for v in terms.mean(0).tolist()),
                   f"{self.schedule.get_last_lr()[0]:.6f}", f"{time.time():.0f}"]
            csv.writer(file).writerow(row)

    def save(self) -> None:
        """Write the training state and the averaged weights, atomically."""
        state = {"epoch": self.epoch, "model": self.model.state_dict(), "average": self.average.state_dict(),
                 "optimiser": self.optimiser.state_dict(), "schedule": self.schedule.state_dict()}
        torch.save(state, self.out / "state.partial")
        os.replace(self.out / "state.partial", self.out / "state.pt")
        save_checkpoint(self.out / "weights.safetensors", self.average.module, self.metadata())

    def resume(self) -> None:
        """Go on from the last saved epoch, if there is one."""
        if (self.out / "state.pt").exists():
            state = load_torch(self.out / "state.pt")
            self.epoch = state["epoch"]
            for name in ("model", "average", "optimiser", "schedule"):
                getattr(self, name).load_state_dict(state[name])
            print(f"resuming after epoch {self.epoch}")

    def metadata(self) -> dict[str, Any]:
        """What the contract and the model card say of the training."""
        return {"model_id": "nano", "train": asdict(self.config), "epoch": self.epoch, "accuracy": {},
                "trained_on": f"{len(self.paths)} synthetic frames of {self.config.drives} drives, "
                              f"{self.epoch} epochs; image backbone: ImageNet weights, frozen"}


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the log, the state and weights.safetensors")
    parser.add_argument("--frames", type=Path, help="folder of prepared frames, filled where needed (OUT/frames)")
    for field in fields(TrainConfig):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=field.type, default=field.default)
    options = vars(parser.parse_args(argv))
    out, frames = options.pop("out"), options.pop("frames")
    config, model_config = TrainConfig(**options), ModelConfig()
    out.mkdir(parents=True, exist_ok=True)
    seeds = range(config.first_seed, config.first_seed + config.drives)
    paths = prepare_all(frames or out / "frames", seeds, model_config.presample, config.workers)
    Trainer(config, paths, out, model_config).run()
    print(f"weights: {out / 'weights.safetensors'}")


if __name__ == "__main__":
    main()
