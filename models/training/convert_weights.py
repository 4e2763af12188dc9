"""Convert weights of others into a checkpoint to start training from.

`python -m models.training.convert_weights SOURCE OUT --rules torchvision --config CONFIG`

Renames a state dict from elsewhere (.safetensors, or .pt / .pth, of which only tensors are ever unpickled) by explicit
rules, puts what fits into a new network and writes that as OUT, which training starts from with `--set init=OUT`. What
found no place, does not fit or is still missing is listed.
"""

import argparse
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.errors import ContractError, one_line
from occfusion_ros.network.checkpoint import save_checkpoint
from occfusion_ros.network.occfusion import OccFusion

from .config import load_config

Rule = tuple[str, str]
"""Regular expression for the beginning of a name, and what it is replaced by."""

RULES: dict[str, tuple[Rule, ...]] = {
    # torchvision's resnet50
    "torchvision": ((r"(?=(conv1|bn1|layer[1-4])\.)", "backbone."),),
    # mmdetection3d and OpenOccupancy: a ResNet as image backbone and, where it is an FPN, the neck
    "openoccupancy": (
        (r"img_backbone\.(?=(conv1|bn1|layer[1-4])\.)", "backbone."),
        (r"img_neck\.lateral_convs\.(\d+)\.conv\.", r"pyramid.lateral.\1."),
        (r"img_neck\.fpn_convs\.([01])\.conv\.", r"pyramid.smooth.\1."),
    ),
}
WRAPPERS = ("state_dict", "model", "model_state_dict")  # keys under which training programs keep the state dict


@dataclass
class Conversion:
    """Say what became of a state dict; names are those of the source, but for `missing`.

    Attributes:
        placed: which now are in the network. unplaced: which no rule names, or whose new name the network lacks.
        misfits: (name, its shape, the shape that was expected). missing: of the network, which got nothing.
    """

    placed: list[str] = field(default_factory=list)
    unplaced: list[str] = field(default_factory=list)
    misfits: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"{len(self.placed)} tensors placed, {len(self.misfits)} do not fit, {len(self.unplaced)} found no "
            f"place, {len(self.missing)} of the network's got nothing"
        ]
        lines += [
            f"  does not fit: {name}: expected {list(expected)}, got {list(got)}"
            for name, got, expected in self.misfits
        ]
        lines += [f"  no place: {name}" for name in self.unplaced]
        return "\n".join(lines + [f"  got nothing: {part}" for part in parts(self.missing)])


def parts(names: Sequence[str]) -> list[str]:
    """Group names by the first two parts of their paths, with how many there are of each."""
    heads = [".".join(name.split(".")[:2]) for name in names]
    return [f"{head} ({heads.count(head)})" for head in dict.fromkeys(heads)]


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a file by name; `module.`, which parallel training puts before every name, is taken off.

    Raises:
        ContractError: it cannot be read, or holds anything but tensors and plain values.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise ContractError(
            f"{path}: expected a state dict (.safetensors, .pt or .pth) that holds tensors alone, got: "
            f"{one_line(error)}"
        ) from error
    for key in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    tensors = (
        {str(name).removeprefix("module."): value for name, value in state.items() if isinstance(value, torch.Tensor)}
        if isinstance(state, Mapping)
        else {}
    )
    if not tensors:
        raise ContractError(f"{path}: expected tensors by name, got {type(state).__name__} without any")
    return tensors


def renamed(name: str, rules: Sequence[Rule]) -> str | None:
    """Rename by the first rule that fits the beginning of a name, None where none does."""
    for pattern, replacement in rules:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    return None


def convert(model: OccFusion, state: Mapping[str, torch.Tensor], rules: Sequence[Rule]) -> Conversion:
    """Put the tensors that fit into a network."""
    own, result = model.state_dict(), Conversion()
    found = {}
    for name, tensor in state.items():
        target = renamed(name, rules)
        if target not in own:
            result.unplaced.append(name)
        elif own[target].shape != tensor.shape:
            result.misfits.append((name, tuple(tensor.shape), tuple(own[target].shape)))
        else:
            found[target] = tensor
            result.placed.append(name)
    model.load_state_dict({**own, **found})
    result.missing = [name for name in own if name not in found]
    return result


def parse_rule(text: str) -> Rule:
    """Parse PATTERN=REPLACEMENT."""
    pattern, equals, replacement = text.partition("=")
    try:
        re.compile(pattern)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{pattern!r} is no regular expression: {error}") from error
    if not equals:
        raise argparse.ArgumentTypeError(f"expected PATTERN=REPLACEMENT, got {text!r}")
    return pattern, replacement


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m models.training.convert_weights", __doc__)
    parser.add_argument("source", type=Path, help="weights of others")
    parser.add_argument("out", type=Path, help="checkpoint to write (.safetensors)")
    parser.add_argument("--config", type=Path, required=True, help="settings of the network, as for models.train")
    parser.add_argument("--rules", choices=RULES, help="rules that come with this program")
    parser.add_argument(
        "--rule",
        type=parse_rule,
        action="append",
        default=[],
        metavar="PATTERN=REPLACEMENT",
        help="one more, tried before those; a regular expression for the beginning of a name",
    )
    options = parser.parse_args(argv)
    rules = (*options.rule, *RULES.get(options.rules, ()))
    if not rules:
        parser.error("expected --rules or --rule")
    with one_sentence(parser, "convert_weights"):
        config, model_config = load_config(options.config)
        torch.manual_seed(config.seed)
        model = OccFusion(model_config)
        result = convert(model, read_state(options.source), rules)
        print(result)
        if not result.placed:
            raise ContractError(f"{options.source}: nothing in it fits the network, nothing was written")
        save_checkpoint(
            options.out,
            model,
            {
                "model_id": config.name,
                "accuracy": {},
                "trained_on": f"{len(result.placed)} tensors of {options.source.name}",
            },
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
