"""Class frequencies: training balances objects, the road does not.

The synthetic world shows rare objects often, so that they are learnt; a network that is right about that world then
sees too many of them on the road. Their logits are brought part of the way to the frequencies of real traffic (logit
adjustment: Menon et al., arXiv 2007.07314).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from occfusion_ros.core.labels import IGNORE, NUM_LABELS
from occfusion_ros.network.occfusion import OccFusion

from .data import PreparedFrame

# LiDAR returns by class in nuScenes-lidarseg's trainval set, as its documentation lists them: bicycle, bus (rigid and
# bendy), car, construction vehicle, motorcycle, adult pedestrian, traffic cone, trailer, truck.
ROAD = {
    2: 141_351,
    3: 4_604_760,
    4: 38_104_219,
    5: 1_514_414,
    6: 427_391,
    7: 2_156_470,
    8: 736_239,
    9: 4_907_511,
    10: 15_841_384,
}
OBJECTS = np.array(sorted(ROAD))
STRENGTH = 0.5  # 1 would be right for the share of correct voxels; mIoU weighs rare classes like frequent ones


def returns_by_class(paths: Sequence[Path]) -> np.ndarray:
    """(17,) int64: returns of prepared frames by the label of their voxel."""
    counts = np.zeros(NUM_LABELS, np.int64)
    for path in tqdm(paths, "counting classes", unit="frame"):
        frame = PreparedFrame.load(path)
        index, inside = frame.grid.indices(frame.points[:, :3])
        labels = frame.semantics[tuple(index[inside].T)]
        counts += np.bincount(labels[labels != IGNORE], minlength=NUM_LABELS)[:NUM_LABELS]
    return counts


def log_ratios(counts: np.ndarray) -> np.ndarray:
    """(17,) float64: by how much each object class is more frequent on the road than in `counts`, as a logarithm.

    Shares are among objects; 0 for classes that are no objects, and for those that do not occur in `counts`.
    """
    ours, road = counts[OBJECTS].astype(np.float64), np.array([ROAD[label] for label in OBJECTS], np.float64)
    ratios = np.zeros(NUM_LABELS)
    with np.errstate(divide="ignore"):
        ratios[OBJECTS] = np.where(ours > 0, np.log(road / road.sum()) - np.log(ours / max(ours.sum(), 1)), 0.0)
    return ratios


@torch.no_grad()
def adjust(model: OccFusion, counts: np.ndarray, strength: float = STRENGTH) -> None:
    """Shift the class logits of a network that was trained where objects occur as in `counts` (17,)."""
    shift = torch.from_numpy(strength * log_ratios(counts)).float()
    model.coarse_head.bias += shift
    model.refiner.head[-1].bias += shift
