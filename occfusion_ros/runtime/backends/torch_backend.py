"""Networks in PyTorch, from an artifact's weights: what runs where nothing else does, with CUDA graphs on a GPU."""

import torch

from ...core.contract import NetworkSpec
from ...core.errors import BackendError, ContractError, one_line
from ...core.processor import usable_cores
from ...presample.presampler import PresampleConfig
from ..artifact import NETWORKS, Artifact
from .cuda_graphs import CudaGraphs
from .protocol import BackendSettings, OutputBuffers, check_inputs, pick_precision, torch_threads, usable_gpu


def unavailable_reason() -> str:
    """Why this backend cannot run here; empty where it can."""
    try:
        import safetensors  # noqa: F401
    except ImportError as error:
        return f"safetensors is not installed ({error}): pip install safetensors"
    return ""


def precisions(spec: NetworkSpec) -> tuple[str, ...]:
    """What it can calculate a network in here, the best first."""
    if "weights" not in spec.files:
        return ()
    return ("fp16", "fp32") if usable_gpu() else ("fp32",)


def load(artifact: Artifact, network: str, settings: BackendSettings) -> "TorchBackend":
    """An network of an artifact, ready to run."""
    spec = artifact.network(network)
    if not precisions(spec):
        raise BackendError(f"model {artifact.contract.model_id} has no weights for PyTorch: export it again")
    precision = pick_precision("torch", settings.precision, precisions(spec))
    device = torch.device("cuda" if usable_gpu() else "cpu")
    module = build_network(artifact, network).to(device)
    return TorchBackend(module, f"{network} of {spec.files['weights'].name}", spec, precision, device, settings.cores)


def build_network(artifact: Artifact, network: str) -> torch.nn.Module:
    """One of an artifact's two networks, on the CPU.

    Raises:
        ContractError: the weights are damaged, or those of another network than the contract describes.
    """
    from ...network.checkpoint import read_checkpoint
    from ...network.wrappers import networks_of

    contract, spec = artifact.contract, artifact.network(network)
    path = artifact.folder / spec.files["weights"].name
    model, _ = read_checkpoint(artifact.read(spec.files["weights"]), str(path))
    module = dict(zip(NETWORKS, networks_of(model)))[network]
    inputs, outputs = (tuple(tensor.name for tensor in side) for side in (spec.inputs, spec.outputs))
    for what, expected, got in (
        ("fusion", "point", model.config.fusion),  # the others are there to compare with
        ("pre-sampling", PresampleConfig.of(contract), model.config.presample),
        ("inputs", inputs, module.INPUTS),
        ("outputs", outputs, module.OUTPUTS),
    ):
        if got != expected:
            raise ContractError(
                f"{path}: expected {what} {expected}, which the contract has, got {got}: export it again"
            )
    return module


class TorchBackend:
    """One module on its device; on the CPU in float32, on a GPU in half precision where its operations allow it."""

    def __init__(
        self,
        module: torch.nn.Module,
        file: str,
        spec: NetworkSpec,
        precision: str,
        device: torch.device,
        threads: int = 0,
    ) -> None:
        self.file, self.spec, self.precision, self.device = file, spec, precision, device
        self.name, self.threads = f"torch {precision} on {device.type}", threads or usable_cores()
        self.module = module
        self.outputs = OutputBuffers(spec, device)
        self.graphs = CudaGraphs(self._compute) if device.type == "cuda" else None

    @torch.inference_mode()
    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """See `Backend.run`."""
        lengths = check_inputs(self.file, self.spec, inputs)
        outputs = self.outputs.get(lengths)
        try:
            with torch_threads(self.threads):
                (self.graphs or self._compute)(inputs, outputs)
        except RuntimeError as error:
            raise BackendError(f"{self.file}: PyTorch failed while running: {one_line(error)}") from error
        return outputs

    def _compute(self, inputs: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]) -> None:
        # On a GPU PyTorch rounds what convolutions get to ten bits by default (TF32): no float32 for who asks for it.
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=self.precision != "fp32")
        with exact, torch.autocast(self.device.type, torch.float16, enabled=self.precision == "fp16"):
            results = self.module(*(inputs[tensor.name] for tensor in self.spec.inputs))
        for tensor, result in zip(self.spec.outputs, results if isinstance(results, (tuple, list)) else (results,)):
            outputs[tensor.name].copy_(result)
