"""How far the entropy of classes that is estimated lies from that of all classes, which leaves no network.

`core.confidence.class_entropy` knows the probability of the best class alone. Here all of them are taken from inside
the networks, as PyTorch runs them.
"""

from typing import Any

import numpy as np
import torch

from occfusion_ros.core.confidence import OCCUPIED, Confidence, as_bytes, class_entropy, from_shares
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.network.wrappers import class_byte
from occfusion_ros.runtime.pipeline import Pipeline

NETWORKS = ("fuser", "refiner")


class EntropyErrors:
    """Compares both, over the voxels of frames that a network says are occupied.

    Attributes:
        of: for each network (N, 3) float32 nats of its voxels: its own entropy; what is estimated from the probability
            that it believes in; and from the one that was measured.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        """`pipeline`: on the backend torch, refining."""
        self._pipeline, self._known = pipeline, pipeline.contract.confidence or Confidence()
        self._seen: dict[str, Any] = {}
        fuser, refiner = pipeline.fuser.module, pipeline.refiner.module
        fuser.model.coarse_head.register_forward_hook(self._keep("coarse"))
        fuser.register_forward_hook(self._keep("fuser"))
        refiner.refiner.register_forward_hook(self._keep("refined"))
        refiner.register_forward_hook(self._keep("refiner"))
        self.of: dict[str, list[np.ndarray]] = {network: [] for network in NETWORKS}

    def _keep(self, name: str) -> Any:
        def keep(_module: torch.nn.Module, inputs: tuple, outputs: Any) -> None:
            self._seen[name] = inputs, outputs

        return keep

    def add(self, frame: SensorFrame) -> None:
        """Have the pipeline answer a frame, and compare."""
        self._pipeline(frame)
        (_, coarse), (_, fused) = self._seen["coarse"], self._seen["fuser"]
        (_, refined), (inputs, answered) = self._seen["refined"], self._seen["refiner"]
        said = dict(zip(self._pipeline.fuser.module.OUTPUTS, fused))
        parents = dict(zip(self._pipeline.refiner.module.INPUTS, inputs))["parent"]
        children = (said["occupancy"] >= OCCUPIED).sum(1)  # (T,) occupied ones, or (M,) with a screen
        voxel = said.get("screened", torch.arange(len(children)))
        children[(voxel < 0) | torch.isin(voxel, parents)] = 0  # none, or refined
        logits = coarse.reshape(len(children), -1)
        self.of["fuser"].append(self._compared("fuser", logits.repeat_interleave(children, 0)))
        self.of["refiner"].append(self._compared("refiner", refined[0][answered[0] > 0]))

    def _compared(self, network: str, logits: torch.Tensor) -> np.ndarray:
        """(N, 17) logits to (N, 3), see above."""
        shares = logits[:, 1:].float().log_softmax(-1)
        byte = class_byte(logits).numpy()
        tables = from_shares(), getattr(self._known, network).classes
        return np.stack(
            [-(shares.exp() * shares).sum(-1).numpy(), *(class_entropy(as_bytes(t)[byte]) for t in tables)], 1
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {network: errors(np.concatenate(rows)) for network, rows in self.of.items()}


def errors(nats: np.ndarray) -> dict[str, Any]:
    """Sum up (N, 3) nats, see `EntropyErrors`: means, of errors too, and what 95 % of the errors stay below."""
    off = nats[:, 1:] - nats[:, :1]
    return {
        "voxels": len(nats),
        "own": float(nats[:, 0].mean()),
        "bias": off.mean(0).tolist(),
        "error": np.abs(off).mean(0).tolist(),
        "most": np.quantile(np.abs(off), 0.95, axis=0).tolist(),
    }
