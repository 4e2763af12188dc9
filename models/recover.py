"""Get the weights of an exported model back: `python -m models.recover models/zoo/nano out/nano.safetensors`.

An artifact holds every weight in its PyTorch programs. As a checkpoint they can be trained on (`init` of a training's
configuration), measured (`python -m benchmarks.ablation --weights`) or exported anew.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from occfusion_ros.core.command import one_sentence
from occfusion_ros.core.errors import ContractError
from occfusion_ros.runtime.artifact import NETWORKS, Artifact, load_artifact
from occfusion_ros.runtime.backends.program_archive import archived_weights

from .network.occfusion import OccFusion
from .training.checkpoint import save_checkpoint
from .training.config import load_config

CONFIGS = Path(__file__).resolve().parent / "configs"


def program_tensors(artifact: Artifact) -> dict[str, torch.Tensor]:
    """Weights and buffers of both programs by their names in `OccFusion`.

    Raises:
        ContractError: the artifact has no programs, or they are damaged.
    """
    found: dict[str, torch.Tensor] = {}
    for network in NETWORKS:
        if (file := artifact.network(network).files.get("program")) is None:
            raise ContractError(f"{artifact.folder}: expected a PyTorch program of the {network}, got none: "
                                "export anew")
        for name, tensor in archived_weights(artifact.read(file), file.name).items():
            found[name.removeprefix("model.")] = tensor  # the fuser's program holds the whole network as `model`
    return found


def recover(artifact: Artifact, config: Path) -> OccFusion:
    """The network of an artifact in evaluation mode.

    Args:
        config: of its training, which says how it is built.

    Raises:
        ContractError: the configuration is of another network.
    """
    network = load_config(config)[1]
    model = OccFusion(replace(network, presample=replace(network.presample,
                                                         preprocessing=artifact.contract.preprocessing)))
    try:
        model.load_state_dict(program_tensors(artifact))
    except RuntimeError as error:
        raise ContractError(f"{config}: expected the configuration of {artifact.folder}, got another network's: "
                            f"{error!s:.300}") from error
    return model.eval()


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m models.recover", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path, help="folder of an exported model")
    parser.add_argument("out", type=Path, help="checkpoint to write (safetensors)")
    parser.add_argument("--config", type=Path, help="configuration of its training (models/configs/ID.yaml)")
    options = parser.parse_args(argv)
    with one_sentence(parser, "recover"):
        artifact = load_artifact(options.artifact)
        contract = artifact.contract
        model = recover(artifact, options.config or CONFIGS / f"{contract.model_id}.yaml")
        options.out.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(options.out, model, {"model_id": contract.model_id, "trained_on": contract.trained_on,
                                             "accuracy": dict(contract.accuracy)})
    print(f"weights: {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
