"""Findings of the study that nobody made."""

from typing import Any


def made_up_reasons(networks: int) -> dict[str, Any]:
    """In the form of `benchmarks.ablation.reasons.reasons` with so many trained references."""
    band = {"voxels": 100.0, "none": 0.5, "filled": 0.3, "sampled": 0.2, "spread": 2.0, "one_cell": 0.1}
    ways = ("both", "fps", "synthetic", "none", "center", "blind")
    hardest = [{"share": share, "loss": 1.1, "things": 2.0} for share in (0.2, 0.7)]
    return {
        "points": {name: [band] * 3 for name in ("swift", "base")},
        "without": {way: {"iou": 0.6, "miou": 0.4} for way in ways},
        "hardness": {
            **dict.fromkeys(("draws", "learned", "classes", "occupied", "spread"), 0.5),
            "networks": 0.5 if networks > 1 else None,
            "hardest": hardest,
        },
    }
