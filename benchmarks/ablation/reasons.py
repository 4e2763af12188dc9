"""Why pre-sampling and active training bring what they bring: what each could change, counted and tried out.

No network is trained here. Pre-sampling can only matter where it moves points across the cells of image features, and
to a network that looks where they are. Active training can only matter where the hardest samples are others than the
rest, and hard because they are not learned yet.
"""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from models.evaluation.metrics import ConfusionMatrix
from models.training.batches import BatchMaker
from models.training.data import UNSEEN, PreparedFrame
from models.training.objective import Objective, class_weights
from models.training.predict import labels_of, predict
from occfusion_ros.core.labels import IGNORE, NUM_LABELS, THINGS
from occfusion_ros.network.checkpoint import load_checkpoint
from occfusion_ros.network.occfusion import OccFusion
from occfusion_ros.network.wrappers import RefinerNetwork
from occfusion_ros.presample.points import LOCAL_STEPS
from occfusion_ros.presample.presampler import FusedVoxels, PresampleConfig, Presampler

from .variants import MODEL, NETWORK, NETWORKS, TRAIN, WEIGHTS

BANDS = (0.0, 12.8, 25.6, 51.2)  # metres from the sensor, edges of what is told apart
SHARES = (0.2, 0.7)  # hardest shares that are looked at
CPU = torch.device("cpu")


class Centered(Presampler):
    """Puts all points of a voxel into its middle: where returns lie is known from its features alone."""

    def _describe(self, *what: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        local, real, features = super()._describe(*what)
        return torch.full_like(local, LOCAL_STEPS // 2), real, features


def reasons(train: list[Path], test: list[Path], references: list[Path]) -> dict[str, Any]:
    """Everything that the page says of it.

    Args:
        train: prepared training frames of the study. test: whole held-out ones.
        references: weights of the reference variant, by seed.
    """
    held_out = [PreparedFrame.load(path) for path in test]
    return {
        "points": {name: points_of(held_out, config) for name, config in presamplings().items()},
        "without": without_points(held_out),
        "hardness": hardness(train, references),
    }


def presamplings() -> dict[str, PresampleConfig]:
    """The study's network, and it with the images of `base`."""
    images = NETWORKS["base"].presample.image_size
    return {"swift": NETWORK.presample, "base": replace(NETWORK.presample, image_size=images)}


def points_of(frames: list[PreparedFrame], config: PresampleConfig) -> list[dict[str, float]]:
    """What pre-sampling makes of the present sweeps of frames, for each of `BANDS`.

    Returns:
        `voxels`: fused voxels of a frame, mean; `none`, `filled`, `sampled`: shares of them without a return, with as
        many as theta or fewer, and with more; `spread`: median, over those that one camera sees, of how far their
        points lie apart along the longer axis, cells of the finest image features; `one_cell`: share of these with
        less than 1.
    """
    presampler, scale = Presampler(config), resized(config)
    seen = [presampler.prepare_points(f.points, torch.from_numpy(scale @ f.image_from_grid)) for f in frames]
    rows = np.concatenate([counts_and_spreads(voxels, config) for voxels in seen])  # (V, 3)
    found = []
    for low, high in itertools.pairwise(BANDS):
        _, count, spread = rows[(rows[:, 0] >= low) & (rows[:, 0] < high)].T
        apart = spread[np.isfinite(spread)]
        found.append(
            {
                "voxels": len(count) / len(seen),
                "none": share(count == 0),
                "filled": share((count > 0) & (count <= config.points_per_voxel)),
                "sampled": share(count > config.points_per_voxel),
                "spread": float(np.median(apart)) if len(apart) else 0.0,
                "one_cell": share(apart < 1),
            }
        )
    return found


def share(chosen: np.ndarray) -> float:
    """Of a bool array; 0 of nothing."""
    return float(chosen.mean()) if len(chosen) else 0.0


def resized(config: PresampleConfig) -> np.ndarray:
    """(4, 4) float32: pixels of the frames' images to those of the same views in the size of `config`."""
    (height, width), (rows, columns) = config.image_size, NETWORK.presample.image_size
    return np.diag(np.float32([width / columns, height / rows, 1, 1]))


def counts_and_spreads(voxels: FusedVoxels, config: PresampleConfig) -> np.ndarray:
    """(V, 3) float64: range in metres, returns, and spread of the points of each fused voxel; the spread is NaN where
    not one camera sees them all.
    """
    height, width = (edge / RefinerNetwork.IMAGE_STRIDE for edge in config.image_size)
    away = voxels.voxel_features[:, -1].double() * config.preprocessing.range_scale
    count = voxels.voxel_features[:, -4].double().expm1().round()
    cells = voxels.point_uv * torch.tensor([width, height])  # (V, theta, 2)
    spread = (cells.amax(1) - cells.amin(1)).amax(1).double()
    camera = voxels.point_camera
    one = (camera >= 0).all(1) & (camera == camera[:, :1]).all(1)
    return torch.stack([away, count, spread.masked_fill(~one, torch.nan)], 1).numpy()


def without_points(frames: list[PreparedFrame]) -> dict[str, dict[str, float]]:
    """IoU and mIoU of the shipped network, as it is, by how its points are chosen."""
    model, _ = load_checkpoint(WEIGHTS)
    config = model.config.presample
    blind = [replace(f, image_from_grid=np.tile(UNSEEN, (len(f.image_from_grid), 1, 1))) for f in frames]
    ways = {
        "both": (Presampler(config), frames),
        "fps": (Presampler(replace(config, sampling="fps")), frames),
        "synthetic": (Presampler(replace(config, sampling="synthetic")), frames),
        "none": (Presampler(replace(config, sampling="none")), frames),
        "center": (Centered(config), frames),
        "blind": (Presampler(config), blind),
    }
    found = {}
    for name, (presampler, seen) in tqdm(ways.items(), "choosing points otherwise", unit="way"):
        matrix = ConfusionMatrix()
        for frame in seen:
            result = predict(model, frame, presampler)
            matrix.add(labels_of(model, result).numpy(), result.truth.numpy())
        found[name] = {"iou": matrix.iou(), "miou": matrix.miou()}
    return found


def hardness(paths: list[Path], references: list[Path]) -> dict[str, Any]:
    """What makes samples hard: losses of the training frames, by networks and by draws of the augmentation.

    Returns:
        `draws`: rank correlation of one network's losses in two draws; `networks`: of two networks' in the same draw;
        `learned`: of the study's network and the shipped one, trained many times as long; `classes`, `occupied`: of the
        loss and the number of classes present, and of occupied voxels; `spread`: standard deviation of the losses over
        their mean; `hardest`: for each of `SHARES` the mean loss of the hardest over that of all, and the voxels of
        objects in them over those in all.
    """
    models = [load_checkpoint(path)[0] for path in references[:2]]
    losses = [losses_of(models[0], paths, draw) for draw in range(2)]
    contents = np.array([content(PreparedFrame.load(path)) for path in tqdm(paths, "counting", unit="frame")])
    mean, order = np.mean(losses, 0), np.argsort(-np.mean(losses, 0))
    tops = {share: order[: max(1, int(len(order) * share))] for share in SHARES}
    return {
        "draws": rank_correlation(*losses),
        "networks": rank_correlation(losses[0], losses_of(models[-1], paths, 0)) if len(models) > 1 else None,
        "learned": rank_correlation(losses[0], losses_of(shipped_in_window(), paths, 0)),
        "classes": rank_correlation(mean, contents[:, 0]),
        "occupied": rank_correlation(mean, contents[:, 1]),
        "spread": float(mean.std() / mean.mean()),
        "hardest": [
            {
                "share": share,
                "loss": float(mean[top].mean() / mean.mean()),
                "things": float(contents[top, 2].mean() / max(contents[:, 2].mean(), 1)),
            }
            for share, top in tops.items()
        ],
    }


def shipped_in_window() -> OccFusion:
    """The shipped network on the study's part of the grid."""
    model = OccFusion(replace(NETWORK, presample=MODEL.presample))
    model.load_state_dict(load_checkpoint(WEIGHTS)[0].state_dict())
    return model


@torch.inference_mode()
def losses_of(model: OccFusion, paths: list[Path], draw: int) -> np.ndarray:
    """(N,) loss of each frame without the screen's, augmented by the random numbers of a draw."""
    config = replace(TRAIN, seed=draw, batch=1)
    maker = BatchMaker(config, MODEL.presample, paths, CPU, 0, 1)
    some = [PreparedFrame.load(path) for path in paths[:: max(1, len(paths) // 32)]]
    objective = Objective(model.eval(), class_weights(some), config.refined, config.precision)
    torch.manual_seed(draw)
    batches = maker.batches((0, 0), np.arange(len(paths)), 0)
    return np.array(
        [objective(b.samples, b.presampler)[0, :4].sum().item() for b in tqdm(batches, "losses", len(paths))]
    )


def content(frame: PreparedFrame) -> tuple[int, int, int]:
    """Classes that are present, occupied voxels and voxels of objects, of what is observed."""
    labels = frame.semantics[frame.observed & (frame.semantics != IGNORE)]
    counts = np.bincount(labels, minlength=NUM_LABELS)
    return int((counts[1:] > 0).sum()), int(counts[1:].sum()), int(counts[list(map(int, THINGS))].sum())


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's, -1..1; ties as they come."""
    ranks = [np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])
