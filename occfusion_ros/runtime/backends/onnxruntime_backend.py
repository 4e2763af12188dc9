"""Networks on ONNX Runtime: the CPU provider, or the CUDA one where the installed wheel has it."""

import torch

from ...core.contract import NetworkSpec
from ...core.errors import BackendError, ContractError, one_line
from ..artifact import Artifact
from .protocol import BackendSettings, OutputBuffers, check_inputs, pick_precision

DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int64)": "int64", "tensor(bool)": "bool"}
VARIANTS = {"fp32": "fp32", "int8": "int8_onnxruntime", "fp16": "fp16"}


def unavailable_reason() -> str:
    """Why this backend cannot run here; empty where it can."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        return f"ONNX Runtime is not installed ({error}): pip install onnxruntime"
    return ""


def precisions(spec: NetworkSpec) -> tuple[str, ...]:
    """What it can calculate a network in, the best first; half precision is there to check, not to be fast."""
    return tuple(precision for precision, variant in VARIANTS.items() if variant in spec.files)


def load(artifact: Artifact, network: str, settings: BackendSettings) -> "OnnxRuntimeBackend":
    """An network of an artifact, ready to run."""
    spec = artifact.network(network)
    precision = pick_precision("onnxruntime", settings.precision, precisions(spec))
    file = spec.files[VARIANTS[precision]]
    return OnnxRuntimeBackend(artifact.read(file), file.name, spec, precision, settings.cores)


class OnnxRuntimeBackend:
    """One ONNX file; tensors go in and out without a copy on the CPU. The number of cameras and of refined voxels may
    change from run to run at no cost."""

    device = torch.device("cpu")

    def __init__(self, content: bytes, file: str, spec: NetworkSpec, precision: str, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only; what matters is raised
        # Without VNNI sums of 8-bit weights would saturate: with this they are calculated otherwise there, slower.
        # Weights of 7 bits, which export.quantize writes, are left as they are.
        options.add_session_config_entry("session.x64quantprecision", "1")
        # Spinning threads of one network would take the cores from the other network and from pre-sampling.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        known = onnxruntime.get_available_providers()
        providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in known]
        self.file, self.spec, self.name = file, spec, f"onnxruntime {precision}"
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=providers)
        except Exception as error:  # its exceptions have no common base of their own
            raise BackendError(
                f"{file}: ONNX Runtime {onnxruntime.__version__} cannot load it ({one_line(error)}); "
                "export the model again or update onnxruntime"
            ) from error
        self._check_against_contract()
        self.outputs = OutputBuffers(spec, self.device)

    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """See `Backend.run`."""
        outputs = self.outputs.get(check_inputs(self.file, self.spec, inputs))
        binding = self.session.io_binding()
        for name, tensor in inputs.items():
            binding.bind_cpu_input(name, tensor.contiguous().numpy())
        for name, tensor in outputs.items():
            binding.bind_output(name, "cpu", 0, tensor.numpy().dtype, tuple(tensor.shape), tensor.data_ptr())
        try:
            self.session.run_with_iobinding(binding)
        except Exception as error:  # as above
            raise BackendError(f"{self.file}: ONNX Runtime failed while running: {one_line(error)}") from error
        return outputs

    def _check_against_contract(self) -> None:
        for side, specs, nodes in (
            ("inputs", self.spec.inputs, self.session.get_inputs()),
            ("outputs", self.spec.outputs, self.session.get_outputs()),
        ):
            expected = {(s.name, s.dtype, s.shape) for s in specs}
            got = {(n.name, DTYPES.get(n.type, n.type), tuple(n.shape)) for n in nodes}
            if expected != got:
                raise ContractError(
                    f"{self.file}: its {side} differ from the contract, expected "
                    f"{sorted(map(str, expected))}, got {sorted(map(str, got))}: export it again"
                )
