"""Training losses, as in OpenOccupancy: cross-entropy, Lovász, and scene-class affinity, with label 255 ignored.

Sources: Lovász-softmax (Berman et al., arXiv 1705.08790); scene-class affinity (Cao & de Charette, MonoScene,
arXiv 2112.00726); the combination and its unit weights (Wang et al., OpenOccupancy, arXiv 2303.03991).
"""

import torch
import torch.nn.functional as F

from occfusion_ros.core.labels import EMPTY, IGNORE


def lovasz(errors: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
    """Lovász extension of the Jaccard loss of one class; errors (N,) float, foreground (N,) 0 or 1 float."""
    errors, order = torch.sort(errors, descending=True)
    truth = foreground[order]
    intersection = truth.sum() - truth.cumsum(0)
    union = truth.sum() + (1 - truth).cumsum(0)
    jaccard = 1 - intersection / union
    return (errors * torch.diff(jaccard, prepend=jaccard.new_zeros(1))).sum()


def lovasz_softmax(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over the classes present; probability (N, L), target (N,) without ignored entries."""
    losses = [lovasz((probability[:, c] - f).abs(), f) for c in target.unique() for f in [(target == c).float()]]
    return torch.stack(losses).mean() if losses else probability.sum() * 0


def _log_ratio(value: torch.Tensor) -> torch.Tensor:
    """-log of a ratio in 0..1, without the infinite gradient at 0."""
    return -torch.log(value.clamp(1e-4, 1.0))


def _affinity(probability: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Precision, recall and specificity terms of one class; probability (N,) and truth (N,) float."""
    hit = (probability * truth).sum()
    positive, predicted, negative = truth.sum(), probability.sum(), (1 - truth).sum()
    loss = _log_ratio(hit / predicted.clamp(min=1e-4)) + _log_ratio(hit / positive.clamp(min=1e-4))
    specificity = ((1 - probability) * (1 - truth)).sum() / negative.clamp(min=1e-4)
    return loss + torch.where(negative > 0, _log_ratio(specificity), 0.0)


def scene_class_affinity(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Semantic affinity (mean over the classes present) plus geometric affinity (occupied or not)."""
    present = [c for c in target.unique().tolist() if c != EMPTY]
    if not present:
        return probability.sum() * 0
    semantic = torch.stack([_affinity(probability[:, c], (target == c).float()) for c in present]).mean()
    return semantic + _affinity(1 - probability[:, EMPTY], (target != EMPTY).float())


def semantic_loss(logits: torch.Tensor, target: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
    """Sum of the four terms; logits (N, L), target (N,) integer with 255 ignored, class_weights (L,) or None."""
    known = target != IGNORE
    logits, target = logits[known].float(), target[known].long()
    if not len(target):
        return logits.sum() * 0
    probability = logits.softmax(1)
    return (
        F.cross_entropy(logits, target, class_weights)
        + lovasz_softmax(probability, target)
        + scene_class_affinity(probability, target)
    )


def occupancy_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy (scaled to the order of the other terms) plus Dice; target 0 / 1 / 255 like `logits`."""
    known = (target != IGNORE).float()
    truth = (target == 1).float()
    bce = F.binary_cross_entropy_with_logits(logits.float(), truth, known, reduction="sum")
    probability = logits.float().sigmoid() * known
    dice = 1 - (2 * (probability * truth).sum() + 1) / (probability.sum() + truth.sum() + 1)
    return bce / (truth.sum() + 1) + dice
