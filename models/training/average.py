"""Average weights with those that they were trained on from: `python -m models.training.average BEFORE AFTER OUT`.

A training on few frames, of one street say, learns them well and forgets some of what it knew. Between the weights
before and after lie networks that do nearly as well on the new frames and nearly as well on everything else
(Wortsman et al., Robust fine-tuning of zero-shot models, arXiv 2109.01903). Calibrate what comes out.
"""

from pathlib import Path

from occfusion_ros.core.command import number, one_sentence, parser_of
from occfusion_ros.core.errors import ContractError
from occfusion_ros.network.checkpoint import load_checkpoint, save_checkpoint

from .state import began_from


def average(before: Path, after: Path, out: Path, share: float) -> None:
    """Write checkpoint `out`: `share` (0..1) of the weights and buffers of `after`, the rest of `before`.

    Raises:
        ContractError: they are of two networks, or the later ones were not trained on from the earlier ones: what lies
            between two trainings of their own is no network at all.
    """
    (one, earlier), (other, metadata) = load_checkpoint(before), load_checkpoint(after)
    if one.config != other.config:
        raise ContractError(f"expected weights of one network, got others in {before} than in {after}")
    if not metadata["trained_on"].startswith(began_from(earlier["trained_on"])):
        raise ContractError(
            f"expected {after} to be trained on from {before} (models.train with init), got: {metadata['trained_on']}"
        )
    old, new = one.state_dict(), other.state_dict()
    mean = {n: old[n].lerp(value, share) if value.is_floating_point() else value for n, value in new.items()}
    other.load_state_dict(mean)
    metadata["accuracy"] = {}  # of neither
    metadata["trained_on"] += f"; averaged with the weights before that, which count {1 - share:g}"
    save_checkpoint(out, other, metadata)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m models.training.average", __doc__)
    parser.add_argument("before", type=Path, help="weights.safetensors that the training began from")
    parser.add_argument("after", type=Path, help="weights.safetensors that it ended with")
    parser.add_argument("out", type=Path, help="where to write the average")
    parser.add_argument(
        "--share", type=number(float, 0, 1), default=0.5, help="how much of the later ones counts (%(default)s)"
    )
    options = parser.parse_args(argv)
    with one_sentence(parser, "average"):
        options.out.parent.mkdir(parents=True, exist_ok=True)
        average(options.before, options.after, options.out, options.share)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
