"""Engines on ONNX Runtime: the CPU provider, or the CUDA one where the installed wheel has it."""

import torch

from ..core.contract import EngineSpec
from ..core.errors import BackendError, ContractError
from .backend import check_inputs

DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int64)": "int64", "tensor(bool)": "bool"}


class OnnxRuntimeBackend:
    """One ONNX file; tensors go in and out without a copy on the CPU."""

    name = "onnxruntime"
    device = torch.device("cpu")

    def __init__(self, content: bytes, spec: EngineSpec, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only; what matters is raised
        # Spinning threads of one engine would take the cores from the other engine and from pre-sampling.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        known = onnxruntime.get_available_providers()
        providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in known]
        self.spec = spec
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=providers)
        except Exception as error:  # its exceptions have no common base of their own
            raise BackendError(f"{spec.file}: ONNX Runtime {onnxruntime.__version__} cannot load it ({error!s:.300}); "
                               "export the model again or update onnxruntime") from error
        self._check_against_contract()

    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """See `Backend.run`."""
        check_inputs(self.spec, inputs)
        names = [tensor.name for tensor in self.spec.outputs]
        try:
            outputs = self.session.run(names, {name: tensor.contiguous().numpy() for name, tensor in inputs.items()})
        except Exception as error:  # as above
            raise BackendError(f"{self.spec.file}: ONNX Runtime failed while running: {error!s:.300}") from error
        return {name: torch.from_numpy(output) for name, output in zip(names, outputs)}

    def _check_against_contract(self) -> None:
        for side, specs, nodes in (("inputs", self.spec.inputs, self.session.get_inputs()),
                                   ("outputs", self.spec.outputs, self.session.get_outputs())):
            expected = {(s.name, s.dtype, s.shape) for s in specs}
            got = {(n.name, DTYPES.get(n.type, n.type), tuple(n.shape)) for n in nodes}
            if expected != got:
                raise ContractError(f"{self.spec.file}: its {side} differ from the contract, expected "
                                    f"{sorted(map(str, expected))}, got {sorted(map(str, got))}: export it again")
