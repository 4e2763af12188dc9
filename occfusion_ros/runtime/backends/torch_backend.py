"""Networks as `torch.export` programs: what runs where nothing else does, with CUDA graphs on a GPU."""

import torch

from ...core.contract import NetworkSpec
from ...core.errors import BackendError, ContractError, one_line
from ...core.processor import usable_cores
from ..artifact import Artifact
from .cuda_graphs import CudaGraphs
from .program_archive import checked_archive
from .protocol import BackendSettings, OutputBuffers, check_inputs, pick_precision, torch_threads, usable_gpu


def unavailable_reason() -> str:
    """Why this backend cannot run here; it always can."""
    return ""


def precisions(spec: NetworkSpec) -> tuple[str, ...]:
    """What it can calculate a network in here, the best first."""
    if "program" not in spec.files:
        return ()
    return ("fp16", "fp32") if usable_gpu() else ("fp32",)


def load(artifact: Artifact, network: str, settings: BackendSettings) -> "TorchBackend":
    """An network of an artifact, ready to run."""
    spec = artifact.network(network)
    if not precisions(spec):
        raise BackendError(f"model {artifact.contract.model_id} has no program for PyTorch: export it again")
    precision = pick_precision("torch", settings.precision, precisions(spec))
    device = torch.device("cuda" if usable_gpu() else "cpu")
    file = spec.files["program"]
    module = read_program(artifact.read(file), file.name, device, artifact.contract.pytorch)
    return TorchBackend(module, file.name, spec, precision, device, settings.cores)


def read_program(
    content: bytes, file: str, device: torch.device = torch.device("cpu"), exporter: str = ""
) -> torch.nn.Module:
    """A program on a device, from an archive that holds nothing to be unpickled or evaluated, see `program_archive`.

    Args:
        exporter: version of PyTorch that wrote it, for the message; empty where it is not known.

    Raises:
        ContractError: it holds something else, or is no program. BackendError: this PyTorch cannot take it.
    """
    try:
        archive = checked_archive(content, file)
    except ContractError:
        raise
    except Exception as error:  # whatever reading a damaged archive raises
        raise ContractError(
            f"{file}: expected a program that export.to_onnx wrote, got {one_line(error)}: copy the artifact again"
        ) from error
    try:
        program = torch.export.load(archive)
        if device.type != "cpu":  # where it was exported
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        return _without_dtypes_noted(program).module()
    except Exception as error:  # the reader has no errors of its own
        raise BackendError(
            f"{file}: exported with PyTorch {exporter or '(not known which)'}, here is "
            f"{torch.__version__}, which cannot take it ({one_line(error)}): install that version, "
            "export the model with this one, or take another backend"
        ) from error


def _without_dtypes_noted(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """A program that does not insist on the dtypes that its export saw: in half precision they are others."""
    graph = program.graph_module.graph
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten._assert_tensor_metadata.default):
        graph.erase_node(node)
    program.graph_module.recompile()
    return program


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
