"""A volume in PyTorch, for a GPU: what `compiled_volume` does column by column is done for all voxels side by side.

There are no bits: every voxel is looked up where its center lies. Both give the same volume and the same answers.
"""

from collections.abc import Iterator

import numpy as np
import torch

from ..core.frames import SensorFrame
from ..core.grid import GridSpec
from ..core.labels import IGNORE
from . import torch_rays
from .answer import IN_DOUBT, NOT_REACHED
from .equal_stamps import BYTES, PASSED, PLACE, PREDICTED, RETURNED, strongest
from .evidence import IS_FLAT, IS_MOVABLE, IS_THING, KINDS, Gains
from .volume import EVIDENCE, LABEL, LEAD, MOST, RollingVolume, metres_from_voxels

SLICES = 64  # along x that are looked up at once: a lookup takes some 30 bytes a voxel


class TorchVolume(RollingVolume):
    """Evidence, labels and leads of voxels on a device.

    Attributes:
        voxels: (3, X, Y, 64) uint8: evidence (as int8), 0 where nothing is known; label and lead of what is occupied.
    """

    def __init__(self, grid: GridSpec, wide: int, device: str) -> None:
        """
        Args:
            grid: of the frames. wide: voxels of the volume along x and y. device: PyTorch's name for it.
        """
        super().__init__(grid, wide)
        self.device = torch.device(device)
        self.voxels = torch.zeros((3, *self.size), dtype=torch.uint8, device=self.device)
        self._flat = self.voxels.view(3, -1)
        self._kinds = torch.from_numpy(KINDS).to(self.device)
        self._grid, self._grid_from_metres = grid, np.linalg.inv(metres_from_voxels(grid))
        self._pose = np.eye(4)
        self._labels = torch.zeros(grid.size, dtype=torch.uint8, device=self.device)  # of the frame that is seen
        self._returned = self._labels.bool()
        self._seen = torch.zeros((2, *self.size), dtype=torch.bool, device=self.device)  # passed; returned
        self._claimed = self._seen[0].clone()
        self._notes = torch.zeros(0, dtype=torch.int64, device=self.device)  # of the last stamp

    @property
    def nbytes(self) -> int:
        """See `RollingVolume`."""
        kept = self.voxels, self._labels, self._returned, self._seen, self._claimed, self._notes
        return sum(tensor.nbytes for tensor in kept)

    def close(self) -> None:
        """See `RollingVolume`."""

    def clear(self) -> None:
        """See `RollingVolume`."""
        self.voxels.zero_()
        self._notes = self._notes[:0]

    def forget(self, axis: int, places: np.ndarray) -> None:
        """See `RollingVolume`."""
        self.voxels.index_fill_(axis + 1, torch.from_numpy(places).to(self.device), 0)

    def content(self) -> tuple[np.ndarray, np.ndarray]:
        """See `RollingVolume`."""
        voxels = self.voxels.roll(tuple((-self.offset).tolist()), (1, 2, 3)).cpu().numpy().view(np.int8)
        known = voxels[EVIDENCE] != 0
        found = voxels[:, known]
        found[1:] *= found[EVIDENCE] > 0
        return known, found

    def restore(self, low: np.ndarray, known: np.ndarray, voxels: np.ndarray) -> None:
        """See `RollingVolume`."""
        self.low, dense = low, np.zeros((3, *self.size), np.int8)
        dense[:, known] = voxels
        ring = np.roll(dense, tuple(self.offset.tolist()), (1, 2, 3))
        self.voxels.copy_(torch.from_numpy(ring.view(np.uint8)))

    def see(self, labels: np.ndarray, frame: SensorFrame, volume_from_grid: np.ndarray) -> None:
        """See `RollingVolume`."""
        self._pose = volume_from_grid
        self._labels = torch.tensor(labels, device=self.device)
        points = torch.tensor(frame.points, device=self.device)
        at = torch_rays.moved(points, self._grid_from_metres)
        self._returned.zero_()[tuple(at[torch_rays.inside(at, self._grid.size)].long().T)] = True
        matrix = volume_from_grid @ self._grid_from_metres
        ends, of = torch_rays.moved(points, matrix), frame.origin_of_point
        origins = torch_rays.moved(torch.tensor(frame.ray_origins), matrix).numpy()
        sensors = None if of is None else torch.tensor(of, device=self.device)
        rays = [(origin, ends if sensors is None else ends[sensors == i]) for i, origin in enumerate(origins)]
        torch_rays.cast(self._seen, self.voxel_size, rays)

    def add(self) -> None:
        """See `RollingVolume`."""
        at, said, label = self._said()
        before = self._bytes(at)
        self._notes = at << PLACE | said << BYTES + 8 | label << BYTES | _packed(*before)
        self._flat[:, at] = _packed_bytes(*self._updated(said, label, *before))

    def add_again(self) -> None:
        """See `RollingVolume`."""
        earlier = self._notes
        now = self._flat[:, earlier >> PLACE]
        self._put(earlier)
        self.add()
        notes = strongest(*(part.cpu().numpy().view(np.uint64) for part in (earlier, self._notes)))
        self._notes = torch.from_numpy(notes.view(np.int64)).to(self.device)
        kept = torch.isin(earlier, self._notes)
        self._flat[:, earlier[kept] >> PLACE] = now[:, kept]

    def fade(self, start: int, end: int, units: int, movable_units: int) -> None:
        """See `RollingVolume`."""
        part = self.voxels[:, start:end]
        evidence = part[EVIDENCE].view(torch.int8).int()
        moves = (evidence > 0) & self._is(part[LABEL], IS_MOVABLE)
        less = torch.where(moves, movable_units, units)
        part[EVIDENCE] = (evidence.sign() * (evidence.abs() - less).clamp(min=0)).to(torch.int8).view(torch.uint8)

    def answer(self, show: bool, unknown: int) -> tuple[np.ndarray, np.ndarray]:
        """See `RollingVolume`."""
        out, filled, occupied = self._labels.clone(), torch.zeros_like(self._returned), self._own()
        for part, inside, there in self._lookup(self._pose, self._grid.size, self.size):
            evidence, remembered, _ = self._bytes(_flattened(self._in_memory(*there), self.size))
            any_, full, claimed, passed = evidence != 0, evidence > 0, self._claimed[there], self._seen[0][there]
            labels, own = out[part], occupied[part]
            flat = self._is(labels, IS_FLAT)
            free = inside & any_ & ~full & own & ~self._returned[part] & ~flat
            moves = self._is(remembered, IS_MOVABLE)
            named = inside & full & own & ~(self._is(labels, IS_THING) | moves)
            filled[part] = inside & full & ~own & ~claimed & (show | ~moves)
            dark = ~(inside & (any_ | passed))
            if unknown == NOT_REACHED:
                labels = labels.masked_fill(dark & ~own, IGNORE)
            elif unknown == IN_DOUBT:
                labels = labels.masked_fill(~dark & ~own & (labels == IGNORE), 0)
            out[part] = torch.where(named | filled[part], remembered.to(torch.uint8), labels.masked_fill(free, 0))
        return out.cpu().numpy(), filled.flatten().nonzero()[:, 0].cpu().numpy()

    def _own(self) -> torch.Tensor:
        """(X, Y, Z) bool: predicted to be occupied."""
        return (self._labels != 0) & (self._labels != IGNORE)

    def _is(self, labels: torch.Tensor, kind: int) -> torch.Tensor:
        """Bool: which labels are of a kind."""
        return self._kinds[labels.int()] & kind != 0

    def _in_memory(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Places in the ring of voxels from the low corner."""
        return tuple((at + by) % n for at, by, n in zip((x, y, z), self.offset.tolist(), self.size))

    def _bytes(self, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Evidence, label and lead, int64, of voxels by their flat places; the latter 0 where they are not occupied."""
        evidence = self._flat[EVIDENCE].view(torch.int8)[at].long()
        full = evidence > 0
        return evidence, (self._flat[LABEL][at] * full).long(), (self._flat[LEAD][at] * full).long()

    def _lookup(self, matrix: np.ndarray, size: tuple, there: tuple) -> Iterator[tuple[slice, torch.Tensor, tuple]]:
        """Find where the voxels of a block lie in another one, some slices at a time.

        Args:
            matrix: (4, 4) float64 from the one to the other, both in voxels from their low corners.
            size, there: of the one, and of the other.

        Yields:
            the slices x; bool, which voxels lie inside; x, y and z in the other block, int64, of the others any.
        """
        y, z = (torch.arange(n, device=self.device, dtype=torch.float64) for n in size[1:])
        for start in range(0, size[0], SLICES):
            part = slice(start, min(start + SLICES, size[0]))
            x = torch.arange(part.start, part.stop, device=self.device, dtype=torch.float64)[:, None, None] + 0.5
            places, within = [], torch.ones((), dtype=torch.bool, device=self.device)
            for k, (a, b, c, d) in enumerate(matrix[:3].tolist()):
                lowest = a * x + b * (y[:, None] + 0.5) + c * 0.5 + d  # as `columns.column_start` and `run_at` do
                at = (lowest + z * (c - (k == 2))).floor() + z * (k == 2)
                within = within & (at >= 0) & (at < there[k])
                places.append(at.clamp(0, there[k] - 1).long())
            yield part, within, tuple(places)

    def _said(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the frame says of voxels, (N,) int64 each: flat places in memory, strengths, and labels, 0: free."""
        found, own = [], self._own()
        for part, inside, there in self._lookup(np.linalg.inv(self._pose), self.size, self._grid.size):
            claims = inside & own[there]
            self._claimed[part] = claims
            x, y, z = (claims | self._seen[0][part]).nonzero(as_tuple=True)
            label = (self._labels[there] * claims)[x, y, z].long()
            x = x + part.start
            passed, returned = self._seen[:, x, y, z]
            freed = passed & ~self._is(label, IS_FLAT)
            strength = torch.where(returned, RETURNED, torch.where(freed, PASSED, PREDICTED))
            found.append((_flattened(self._in_memory(x, y, z), self.size), strength, label))
        at, strength, label = (torch.cat(parts) for parts in zip(*found))
        changes = (label > 0) | (self._flat[EVIDENCE].view(torch.int8)[at] != -MOST)
        return at[changes], strength[changes], label[changes]

    def _updated(
        self,
        said: torch.Tensor,
        label: torch.Tensor,
        evidence: torch.Tensor,
        before: torch.Tensor,
        lead: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Evidence, label and lead of voxels after what is said of them; see `evidence._add_predicted`, `_add_free`."""
        gain = torch.tensor([0, Gains.predicted, Gains.passed, Gains.returned], device=self.device)[said]
        comes, goes = self._is(label, IS_MOVABLE), self._is(before, IS_MOVABLE)
        taken = (gain > 0) & (comes | goes)
        left = (gain < 0) & goes
        after = torch.where(left, gain, (evidence + gain).clamp(-MOST, MOST))
        after = torch.where(taken, torch.where(comes, MOST, gain), after)
        same, beaten = before == label, (before > 0) & (lead > 0)
        votes = torch.where(same, (lead + 1).clamp(max=127), torch.where(beaten, lead - 1, 1))
        kept = left | (label == 0)
        leads = torch.where(taken, 1, torch.where(kept, lead, votes))
        names = torch.where(taken | ~(kept | same | beaten), label, before)
        return after, names, leads

    def _put(self, notes: torch.Tensor) -> None:
        """Give voxels the bytes in their notes."""
        self._flat[:, notes >> PLACE] = torch.stack([notes >> by & 255 for by in (16, 8, 0)]).to(torch.uint8)


def _flattened(places: tuple[torch.Tensor, ...], size: tuple[int, int, int]) -> torch.Tensor:
    x, y, z = places
    return (x * size[1] + y) * size[2] + z


def _packed(evidence: torch.Tensor, label: torch.Tensor, lead: torch.Tensor) -> torch.Tensor:
    return (evidence & 255) << 16 | label << 8 | lead


def _packed_bytes(evidence: torch.Tensor, label: torch.Tensor, lead: torch.Tensor) -> torch.Tensor:
    return torch.stack([evidence & 255, label, lead]).to(torch.uint8)
