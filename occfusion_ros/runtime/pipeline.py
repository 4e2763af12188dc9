"""Sensor frame in, semantic occupancy grid out: the straight line that the node runs."""

import itertools
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..core.contract import ModelContract
from ..core.errors import BackendError, ContractError, InvalidFrameError, OccFusionError, one_line
from ..core.frames import OccupancyGrid, SensorFrame
from ..presample.children import describe_children, from_children, parents_of
from ..presample.presampler import FusedVoxels, PresampleConfig, Presampler
from .artifact import NETWORKS, Artifact, load_artifact
from .backends.protocol import Backend, BackendSettings, torch_threads, usable_gpu
from .backends.registry import BACKENDS, candidates
from .candidates import Candidates, candidates_of, in_todays_form, scattered
from .confidence import ConfidenceReader
from .selection import most_uncertain

logger = logging.getLogger(__name__)

REFINE_MODES = ("active", "all", "none")
"""Which coarse voxels are refined: of those predicted occupied the K most uncertain, all of them, or none."""


class Stopwatch:
    """Milliseconds between laps, by stage name.

    On a GPU, which works behind the program's back, a lap ends when the GPU comes to it: its own events tell, so
    nothing waits for the sake of a measurement.
    """

    def __init__(self, device: torch.device = torch.device("cpu")) -> None:
        """`device`: cuda if any stage runs there."""
        self._on_gpu = device.type == "cuda"
        self._laps = [("start", self._mark())]

    def lap(self, stage: str) -> None:
        """Attribute the time since the last lap to `stage`."""
        self._laps.append((stage, self._mark()))

    def finish(self) -> dict[str, float]:
        """All stages with the total; waits until a GPU has come to the last lap."""
        if self._on_gpu:
            self._laps[-1][1].synchronize()
        laps = itertools.pairwise(self._laps)
        return {
            **{stage: self._between(before, mark) for (_, before), (stage, mark) in laps},
            "total": self._between(self._laps[0][1], self._laps[-1][1]),
        }

    def _mark(self) -> Any:  # seconds, or torch.cuda.Event
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, start: Any, end: Any) -> float:
        return start.elapsed_time(end) if self._on_gpu else (end - start) * 1e3


class Pipeline:
    """Pre-sampling, the two networks and everything between them; one frame at a time."""

    def __init__(self, contract: ModelContract, fuser: Backend, refiner: Backend, refine: str = "active") -> None:
        """Two attributes may be set at any time: `confidence`, whether grids say how sure the networks are, and
        `free_below`, the probability of being occupied from which on an empty voxel is answered as unknown; None: none.
        """
        if refine not in REFINE_MODES:
            raise BackendError(f"refine: expected one of {', '.join(REFINE_MODES)}, got {refine!r}")
        if unknown := set(contract.fuser_inputs) - set(FusedVoxels.KNOWN_INPUTS):
            raise ContractError(f"fuser: expected inputs among {', '.join(FusedVoxels.KNOWN_INPUTS)}, got {unknown}")
        self.contract, self.refine = contract, refine
        self.fuser, self.refiner = fuser, refiner
        self.confidence, self.free_below = True, None
        self._confidence = ConfidenceReader(
            contract.confidence, contract.grid, contract.coarse_factor, torch.device(fuser.device)
        )
        # Pre-sampling runs on the GPU where there is one, whatever runs the networks.
        self.presampler = Presampler(PresampleConfig.of(contract), "cuda" if usable_gpu() else "cpu")

    @classmethod
    def load(
        cls,
        artifact: str | Path,
        backend: str = "auto",
        refine: str = "active",
        settings: BackendSettings = BackendSettings(),
    ) -> "Pipeline":
        """Load an artifact and try it on an empty frame, so that what cannot run fails here.

        Where `backend` is "auto" and the best one fails, the next best is taken with a warning.

        Args:
            artifact: artifact folder or name of a shipped model.
            backend: one of `BACKEND_NAMES`.
            refine: one of `REFINE_MODES`.
            settings: of the networks.

        Raises:
            ContractError: the artifact is missing or damaged. BackendError: it cannot run here.
        """
        loaded, names = load_artifact(artifact), candidates(backend)
        for name, following in itertools.zip_longest(names, names[1:]):
            try:
                pipeline = cls._on(name, loaded, refine, settings)
                break
            except BackendError as error:
                if following is None:
                    raise
                logger.warning("backend %s failed: %s; taking %s instead", name, error, following)
        logger.info(
            "model %s from %s on %s, refine %s", loaded.contract.model_id, loaded.folder, pipeline.backend_name, refine
        )
        return pipeline

    @classmethod
    def _on(cls, name: str, artifact: Artifact, refine: str, settings: BackendSettings) -> "Pipeline":
        """On one backend; whatever its library raises is the machine's fault, ContractError the artifact's."""
        try:
            fuser, refiner = (BACKENDS[name]().load(artifact, network, settings) for network in NETWORKS)
            pipeline = cls(artifact.contract, fuser, refiner, refine)
            pipeline(SensorFrame(0, np.zeros((0, 4), np.float32)))
        except OccFusionError:
            raise
        except Exception as error:  # of another version, or on a broken driver
            logger.debug("backend %s", name, exc_info=True)
            raise BackendError(
                f"{name} does not run on this machine ({type(error).__name__}: {one_line(error)}): "
                "install it again or take another backend"
            ) from error
        return pipeline

    @property
    def backend_name(self) -> str:
        """What runs the networks."""
        return self.fuser.name

    def __call__(self, frame: SensorFrame) -> OccupancyGrid:
        """Occupancy of one frame; one without a sweep (no points at all) is there to warm up.

        Raises:
            InvalidFrameError: the frame does not fit the model, or no point of its sweep can be used. BackendError: an
                network failed.
        """
        with torch_threads(1):  # its work here is small, and more threads wait for each other where cores are busy
            return self._answer(frame)

    def _answer(self, frame: SensorFrame) -> OccupancyGrid:
        watch = Stopwatch(self.presampler.device)
        seen = self.presampler.seen_pixels(frame)  # first, so that the maps of lenses are there for the threads
        image_from_grid = self.presampler.projections(frame)
        images = self.presampler.start_images(frame)
        voxels = self.presampler.prepare_points(frame.points, image_from_grid, seen, frame.body_removed, frame.past)
        if len(frame.points) and not len(voxels.returns):
            raise InvalidFrameError(
                f"sweep: expected returns, got none among {len(frame.points)} points: all lie "
                "outside the grid or on the vehicle itself"
            )
        watch.lap("presample")
        resampled = images()
        watch.lap("images")
        resampled, voxels = resampled.to(self.fuser.device), voxels.to(self.fuser.device)
        seen = None if seen is None else seen.to(self.fuser.device)
        watch.lap("upload")
        fused = self.fuse(resampled, voxels)
        watch.lap("fuser")
        candidates = self.candidates(fused, voxels.returns)
        parents = self.select(candidates)
        watch.lap("select")
        refined = self.classify_children(fused, voxels, parents, seen)
        watch.lap("refiner")
        children = self.compose(candidates, parents, refined, voxels.returns)
        labels, occupancy, class_confidence = self.grids(children, candidates, fused, parents, refined, voxels.returns)
        watch.lap("grid")
        return OccupancyGrid(
            self.contract.grid,
            labels,
            frame.stamp_ns,
            frame.frame_id,
            tuple(camera.name for camera in frame.cameras),
            self.contract.model_id,
            watch.finish(),
            occupancy=occupancy,
            class_confidence=class_confidence,
        )

    def fuse(self, images: torch.Tensor, voxels: FusedVoxels) -> dict[str, torch.Tensor]:
        """The fuser's outputs, see `in_todays_form`, for what lies on its device."""
        told = voxels.network_inputs(self.contract.fuser_inputs)
        return in_todays_form(self.fuser.run({"images": images, **told}))

    def candidates(
        self, fused: dict[str, torch.Tensor], returns: torch.Tensor, others: torch.Tensor | None = None
    ) -> Candidates:
        """What the fuser says of the coarse voxels that matter for the answer.

        Args:
            returns: as in `FusedVoxels`. others: (N,) int64 coarse voxels that are needed besides.
        """
        grid, factor = self.contract.grid, self.contract.coarse_factor
        needed = parents_of(returns, grid, factor)[0]
        needed = needed if others is None else torch.cat([needed, others])
        return candidates_of(fused, needed, grid, factor)

    def select(self, candidates: Candidates) -> torch.Tensor:
        """(K,) int64 flat coarse voxels to refine."""
        if self.refine == "none":
            return candidates.voxel[:0]
        if self.refine == "all":
            return candidates.voxel[candidates.occupied]
        budget = self.contract.refine_budget
        return candidates.voxel[most_uncertain(candidates.uncertainty, candidates.occupied, budget)]

    def classify_children(
        self,
        fused: dict[str, torch.Tensor],
        voxels: FusedVoxels,
        parents: torch.Tensor,
        seen: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """The refiner's outputs for `parents`, (K, J) uint8; the network always gets as many as the budget has.

        `seen`: see `Presampler.seen_pixels`.

        Networks are fastest where shapes stay as they are: what a portion lacks is filled with voxel 0.
        """
        coarse = {tensor.name: fused[tensor.name] for tensor in self.contract.refiner.inputs if tensor.name in fused}
        budget = self.contract.refine_budget
        shape = (len(parents), self.contract.coarse_factor**3)
        refined = {tensor.name: fused["semantic"].new_empty(shape) for tensor in self.contract.refiner.outputs}
        for start in range(0, len(parents), budget):
            chunk = parents[start : start + budget]
            filled = F.pad(chunk, (0, budget - len(chunk)))
            children = describe_children(filled, self.presampler, voxels.image_from_grid, voxels.returns, seen)
            for name, out in self.refiner.run({**coarse, **children.network_inputs()}).items():
                refined[name][start : start + budget] = out[: len(chunk)]
        return refined

    def compose(
        self,
        candidates: Candidates,
        parents: torch.Tensor,
        refined: dict[str, torch.Tensor],
        returns: torch.Tensor,
    ) -> torch.Tensor:
        """Labels (R, J) uint8 of the children: refined where refined, never empty where the sweep has a return."""
        semantic = candidates.semantic
        labels = (candidates.occupancy >> 7) * semantic[:, None]  # occupied where the highest bit is set
        labels[candidates.rows(parents)] = refined["labels"]
        row, child = candidates.places(returns)
        label = labels[row, child]
        labels[row, child] = torch.where(label == 0, semantic[row], label)
        return labels

    def grids(
        self,
        children: torch.Tensor,
        candidates: Candidates,
        fused: dict[str, torch.Tensor],
        parents: torch.Tensor,
        refined: dict[str, torch.Tensor],
        returns: torch.Tensor,
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Labels, and probabilities where they are asked for, see `ConfidenceReader`, (X, Y, Z) uint8 each.

        Empty children in doubt are marked, likewise. An artifact of old says neither.
        """
        spec, free_below = self.contract.grid, self.free_below
        row, child = children.nonzero(as_tuple=True)  # (N,) of the R * J: few
        voxel, listed = candidates.fine(row, child), row * children.shape[1] + child
        labels, occupancy, class_confidence = np.zeros(spec.size, np.uint8), None, None
        if self.contract.says_confidence and self.confidence:
            found = self._confidence.probabilities(refined, candidates, candidates.rows(parents), listed)
            occupancy, class_confidence = (scattered(np.zeros(spec.size, np.uint8), voxel, v) for v in found)
        if self.contract.says_confidence and free_below is not None:
            doubt = self._confidence.doubt(fused, parents, refined, returns, free_below)
            labels = from_children(doubt, spec, self.contract.coarse_factor).cpu().numpy()
        return scattered(labels, voxel, children.flatten()[listed]), occupancy, class_confidence
