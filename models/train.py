"""Train OccFusion with active training: `python -m models.train CONFIG`, for example models/configs/nano.yaml.

Each epoch trains on every sample once, ranks the samples by their loss, and trains the hardest share again. The run can
be killed at any moment: started again, it goes on from its last saved state to the same result. On several GPUs:
`torchrun --nproc-per-node 2 -m models.train CONFIG`.
"""

import os
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.errors import ContractError
from occfusion_ros.core.past_sweeps import MOST_SWEEPS
from occfusion_ros.network.checkpoint import load_checkpoint, save_checkpoint
from occfusion_ros.network.occfusion import ModelConfig, OccFusion
from occfusion_ros.presample.ages import NUM_AGES
from occfusion_ros.presample.presampler import Presampler

from .training.augment import crop
from .training.batches import Batch, BatchMaker, windowed
from .training.config import TrainConfig, load_config
from .training.data import PreparedFrame
from .training.distributed import gathered, join_processes, pick_device
from .training.image_weights import load_imagenet, load_images
from .training.log import TrainingLog, save_pictures
from .training.objective import Objective, class_weights
from .training.prepare import prepare_all, prepare_root
from .training.state import began_from, load_state, save_state

PASSES = ("all", "hard")
FREE_TO_CHANGE = ("frames", "save_every", "pictures", "device", "threads", "workers")  # when a run goes on
BACKBONE_RATE = 0.1  # learning rate of a trained image backbone, relative to that of the rest
MIXED_FRAMES = "synthetic"  # folder of the synthetic frames that are mixed in, below that of the others
FEATURES_IN = "voxel_encoder.0.weight"  # of a network: what reads the features of voxels
WEIGHED = 32  # frames from which the class weights are counted


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: epochs that are done. passing: the pass that is next or under way, an index of PASSES.
        step: its steps that are done. losses: of the samples of the epoch's first pass, in its order.
    """

    epoch: int = 0
    passing: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)


class Trainer:
    """One training run: model, averaged model, optimizer and schedule.

    Args:
        config: settings. paths: prepared frames. out: folder for everything that is written.
        model_config: the network, with the grid of the prepared frames; it is trained on windows of that grid.
    """

    def __init__(self, config: TrainConfig, paths: list[Path], out: Path, model_config: ModelConfig) -> None:
        self.config, self.paths, self.out, self.model_config = config, paths, out, model_config
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.device = pick_device(config.device)
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        model = OccFusion(replace(model_config, presample=windowed(model_config.presample, config)))
        check_fit(config, model)
        load_imagenet(model.backbone)
        if config.images:
            load_images(Path(config.images), model.backbone, model.pyramid)
        model.backbone.requires_grad_(config.train_backbone)
        self.before = start_from(model, Path(config.init)) if config.init else ""
        for part in config.frozen:
            getattr(model, part).requires_grad_(False)
        self.model = model.to(self.device, memory_format=torch.channels_last)
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
        some = [PreparedFrame.load(path) for path in paths[:: max(1, len(paths) // WEIGHED)]]
        self.objective = Objective(self.model, class_weights(some), config.refined, config.precision).to(self.device)
        if self.world > 1:
            self.objective = DistributedDataParallel(self.objective, find_unused_parameters=True)
        self.maker = BatchMaker(config, model_config.presample, paths, self.device, self.rank, self.world)
        per_epoch = self.maker.steps(len(paths)) + self.maker.steps(self.hard_count)
        self.total_steps = config.steps or config.epochs * per_epoch
        groups = [{"params": [p for name, p in self.model.named_parameters() if not name.startswith("backbone.")]}]
        if config.train_backbone:
            groups.append({"params": list(self.model.backbone.parameters())})
        rates = [config.learning_rate, config.learning_rate * BACKBONE_RATE][: len(groups)]
        self.optimizer = torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, rates, self.total_steps, pct_start=0.1)
        self.progress = Progress()
        self.log = None

    @property
    def hard_count(self) -> int:
        """Samples that an epoch trains again."""
        return int(len(self.paths) * self.config.active_share)

    @property
    def done(self) -> int:
        """Optimizer steps so far."""
        return self.schedule.last_epoch

    def run(self) -> None:
        """Train to the end from where the last saved state stands."""
        self.resume()
        self.log = TrainingLog(self.out, self.done) if self.rank == 0 else None
        with tqdm(total=self.total_steps, initial=self.done, unit="step", disable=self.rank > 0, mininterval=5) as bar:
            while self.done < self.total_steps:
                self.train_epoch(bar)
                self.finish_epoch()
        if self.log:
            self.log.close()

    def train_epoch(self, bar: tqdm) -> None:
        """Train on every sample, then on the hardest ones again; from where the progress stands."""
        progress = self.progress
        rng = np.random.default_rng([self.config.seed, progress.epoch])
        order, shuffle = rng.permutation(len(self.paths)), rng.permutation(self.hard_count)
        if PASSES[progress.passing] == "all":
            self.train_pass(order, bar)
        if self.done < self.total_steps:
            hardest = order[np.argsort(-np.array(progress.losses), kind="stable")[: self.hard_count]]
            self.train_pass(hardest[shuffle], bar)
        if self.done < self.total_steps or not self.config.steps:
            progress.epoch, progress.losses = progress.epoch + 1, []

    def train_pass(self, order: np.ndarray, bar: tqdm) -> None:
        """Train on the samples in `order` from the step on that is next."""
        progress = self.progress
        name = PASSES[progress.passing]
        bar.set_description(f"epoch {progress.epoch + 1} {name}")
        self.model.train()
        for part in ("backbone", *self.config.frozen):
            getattr(self.model, part).eval()
        for batch in self.maker.batches((progress.epoch, progress.passing), order, progress.step):
            rate = self.schedule.get_last_lr()[0]
            terms = self.step(batch)
            progress.step += 1
            if name == "all":
                progress.losses = (progress.losses + terms.sum(1).tolist())[: len(order)]
            means = terms.mean(0).tolist()
            if self.log:
                self.log.write(progress.epoch, name, self.done, means, rate)
            bar.set_postfix_str(" ".join(f"{mean:.2f}" for mean in means), refresh=False)
            bar.update()
            if self.done >= self.total_steps:
                return
            if self.done % self.config.save_every == 0:
                self.save()
        progress.passing, progress.step = (progress.passing + 1) % len(PASSES), 0

    def step(self, batch: Batch) -> torch.Tensor:
        """One optimizer step; the loss terms (B, 5) of all processes' samples."""
        torch.manual_seed(self.config.seed + self.done)  # what a step draws does not depend on the steps before it
        terms = self.objective(batch.samples, batch.presampler)
        self.optimizer.zero_grad(set_to_none=True)
        terms.sum(1).mean().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.model)
        return gathered(terms.detach()).cpu()

    def finish_epoch(self) -> None:
        """Save, and draw what the averaged weights make of some frames."""
        self.save()
        if self.rank > 0:
            return
        save_checkpoint(self.out / "weights.safetensors", self.average.module, self.metadata(), self.model_config)
        if self.config.pictures:
            presampler = Presampler(self.model.config.presample, self.device)
            chosen = self.paths[: self.config.pictures]
            frames = [crop(PreparedFrame.load(path), presampler.config.grid) for path in chosen]
            save_pictures(self.out / "pictures", self.progress.epoch, self.average.module, frames, presampler)

    def save(self) -> None:
        """Write the training state, atomically."""
        if self.rank == 0:
            save_state(
                self.out / "state.pt",
                {"settings": self.settings(), "progress": asdict(self.progress)}
                | {name: getattr(self, name).state_dict() for name in ("model", "average", "optimizer", "schedule")},
            )

    def resume(self) -> None:
        """Go on from the last saved state, if there is one."""
        path = self.out / "state.pt"
        if not path.exists():
            return
        state = load_state(path)
        before = state["settings"]
        changed = sorted(name for name, value in self.settings().items() if not _same(before.get(name, value), value))
        if changed:
            raise ContractError(
                f"{path} is of a run with other settings ({', '.join(changed)}): "
                "give --fresh to start again, or another folder"
            )
        for name in ("model", "average", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.progress = Progress(**state["progress"])
        if self.rank == 0:
            print(f"resuming after step {self.done} of {self.total_steps}", file=sys.stderr)

    def settings(self) -> dict[str, Any]:
        """What must not change while a run is interrupted."""
        chosen = {name: value for name, value in asdict(self.config).items() if name not in FREE_TO_CHANGE}
        return chosen | {"model": asdict(self.model_config), "processes": self.world, "samples": len(self.paths)}

    def metadata(self) -> dict[str, Any]:
        """What the contract and the model card say of the training."""
        source = (
            f"of {Path(self.config.data).resolve().name}"
            if self.config.data
            else f"of {self.config.drives} synthetic drives"
        )
        if self.config.mixed_drives:
            source += f" and of {self.config.mixed_drives} synthetic drives"
        backbone = "trained on" if self.config.train_backbone else "frozen"
        began = "as before" if self.before else "labeled pictures" if self.config.images else "ImageNet weights"
        trained_on = (
            f"{len(self.paths)} frames {source}, {self.progress.epoch} epochs, {self.done} steps; "
            f"image backbone: {began}, {backbone}"
        )
        if self.model_config.presample.preprocessing.lags:
            trained_on += f"; with up to {MOST_SWEEPS} earlier sweeps"
        if self.config.frozen:
            trained_on += f"; {', '.join(self.config.frozen)} frozen"
        return {
            "model_id": self.config.name,
            "train": asdict(self.config),
            "epoch": self.progress.epoch,
            "accuracy": {},
            "trained_on": began_from(self.before) + trained_on if self.before else trained_on,
        }


def _same(before: Any, now: Any) -> bool:
    """Whether a setting of a saved run is as it is now; what there was no setting for yet does not count."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(_same(before.get(name, value), value) for name, value in now.items()) and before.keys() <= now.keys()
    return before == now


def start_from(model: OccFusion, path: Path) -> str:
    """Load the weights of another run into `model`, which may have another grid; returns what they were trained on.

    A network without lags becomes one with them that answers single sweeps as before.
    """
    try:
        other, metadata = load_checkpoint(path)
        weights = other.state_dict()
        if model.config.presample.preprocessing.lags and not other.config.presample.preprocessing.lags:
            weights[FEATURES_IN] = with_ages(weights[FEATURES_IN], other.config.presample.coarse_factor**3)
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ContractError(f"init: {path} is of another network: {error!s:.300}") from error
    return metadata["trained_on"]


def with_ages(weight: torch.Tensor, sub_voxels: int) -> torch.Tensor:
    """Weights (C, F) of the features of voxels, with zeros for those of age, which stand behind the sub-voxels'."""
    zeros = weight.new_zeros(len(weight), NUM_AGES)
    return torch.cat([weight[:, :sub_voxels], zeros, weight[:, sub_voxels:]], 1)


def check_fit(config: TrainConfig, model: OccFusion) -> None:
    """Raise ContractError where the settings do not fit the network, which has the size of a window."""
    unknown = set(config.frozen) - {name for name, _ in model.named_children()}
    if unknown:
        raise ContractError(
            f"frozen: expected some of {', '.join(name for name, _ in model.named_children())}, got "
            f"{', '.join(sorted(unknown))}"
        )
    strides, size = 2 ** (len(model.config.bev) - 1), model.config.coarse.size
    if any(edge % strides for edge in size[:2]):
        raise ContractError(f"window: expected a multiple of {strides} coarse voxels, got {size[0]} x {size[1]}")
    if config.refined > model.config.coarse.num_voxels:
        raise ContractError(
            f"refined: expected at most {model.config.coarse.num_voxels}, the voxels of a window, got {config.refined}"
        )
    if model.config.fusion == "lift_splat" and config.window:
        raise ContractError(
            f"window: lift_splat is tied to one place of its grid and needs window 0, got {config.window}"
        )
    if model.config.backbone != "efficientnet_lite0" and not config.train_backbone:
        raise ContractError(
            "train_backbone: the features that are kept are those of efficientnet_lite0; "
            f"{model.config.backbone} must be trained"
        )


def prepare(config: TrainConfig, out: Path, model_config: ModelConfig, fresh: bool = False) -> list[Path]:
    """The prepared frames of a run; the first process makes those that are missing. For `fresh` see `claim`."""
    folder = Path(config.frames or out / "frames")
    weights = Path(config.init or config.images) if config.init or config.images else None
    if dist.is_initialized() and dist.get_rank() > 0:
        fresh = False
        dist.barrier()
    if config.data:
        paths = prepare_root(
            folder,
            Path(config.data),
            model_config.presample,
            config.augment,
            Path(config.occupancy) if config.occupancy else None,
            list(config.scenes),
            config.train_backbone,
            fresh,
            config.copies,
            weights,
            config.held_back,
        )
    else:
        paths = []
    synthetic, drives = (folder / MIXED_FRAMES, config.mixed_drives) if config.data else (folder, config.drives)
    if drives:
        paths += prepare_all(
            synthetic,
            range(config.first_seed, config.first_seed + drives),
            model_config.presample,
            config.workers,
            config.augment,
            config.rig,
            config.train_backbone,
            fresh,
            weights,
        )
    if dist.is_initialized() and dist.get_rank() == 0:
        dist.barrier()
    return paths


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m models.train", __doc__)
    parser.add_argument("config", type=Path, help="YAML file of settings; models/training/config.py explains each")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/run"),
        help="folder for weights.safetensors, state.pt, log.csv and pictures (%(default)s)",
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="start again instead of going on from OUT's saved state, and make frames again that were "
        "prepared otherwise",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="changes",
        help="another value for a setting, for example batch=4 or augment.flip=0; may be given again",
    )
    options = parser.parse_args(argv)
    with one_sentence(parser, "train"):
        config, model_config = load_config(options.config, options.changes)
        options.out.mkdir(parents=True, exist_ok=True)
        join_processes(config.device)
        try:
            if options.fresh and int(os.environ.get("RANK", 0)) == 0:
                for name in ("state.pt", "log.csv"):
                    (options.out / name).unlink(missing_ok=True)
            paths = prepare(config, options.out, model_config, options.fresh)
            Trainer(config, paths, options.out, model_config).run()
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
    print(f"weights: {options.out / 'weights.safetensors'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
