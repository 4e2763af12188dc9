"""Read figures from what the study has kept."""

from typing import Any

from .variants import NONE, STANDARD


class Results:
    """What `benchmarks.ablation` found; figures in percent."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data, self.variants = data, data["variants"]

    def values(self, variant: str, figure: str, mode: str = STANDARD) -> list[float]:
        """One figure for every seed, in the order of the seeds."""
        return [100 * run["modes"][mode][figure] for _, run in sorted(self.variants[variant]["seeds"].items())]

    def mean(self, variant: str, figure: str, mode: str = STANDARD) -> float:
        """Over the seeds."""
        values = self.values(variant, figure, mode)
        return sum(values) / len(values)

    def cell(self, variant: str, figure: str, mode: str = STANDARD) -> str:
        """Mean and range."""
        values = self.values(variant, figure, mode)
        return f"{self.mean(variant, figure, mode):.1f} ({min(values):.1f} to {max(values):.1f})"

    def cells(self, variant: str) -> list[str]:
        """IoU, mIoU, and mIoU without refinement."""
        return [self.cell(variant, "iou"), self.cell(variant, "miou"), self.cell(variant, "miou", NONE)]

    def compare(self, variant: str, other: str, figure: str = "miou") -> str:
        """How `variant` does against `other`, seed by seed."""
        pairs = [
            a - b
            for (seed, _), a in zip(sorted(self.variants[variant]["seeds"].items()), self.values(variant, figure))
            for (theirs, _), b in zip(sorted(self.variants[other]["seeds"].items()), self.values(other, figure))
            if seed == theirs
        ]
        mean = sum(pairs) / len(pairs)
        name = {"miou": "mIoU", "iou": "IoU"}[figure]
        amount = f"{name} {mean:+.1f} points on average, {min(pairs):+.1f} to {max(pairs):+.1f} by seed"
        if min(pairs) > 0:
            return f"better in every seed ({amount})"
        return f"{'worse' if max(pairs) < 0 else 'no difference that holds'} in every seed ({amount})"
