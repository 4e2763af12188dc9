"""A process forked from one that has resampled images resamples them too, as a DataLoader's workers must."""

import os
import select
import signal

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from occfusion_ros.presample.presampler import Presampler

PATIENCE = 60  # seconds


class Images(Dataset):
    """Images of one frame, twice; resampled by whoever asks."""

    def __init__(self, presampler: Presampler, frame) -> None:
        self.presampler, self.frame = presampler, frame

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.presampler.prepare_images(self.frame)


def test_workers_of_a_data_loader_resample(config, frame):
    presampler = Presampler(config)
    expected = presampler.prepare_images(frame)  # from now on this process has threads that a fork leaves behind
    loader = DataLoader(
        Images(presampler, frame), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=PATIENCE
    )
    assert all(torch.equal(images, expected) for images in loader)


@pytest.mark.parametrize("forks", [1, 2])
def test_a_fork_and_a_fork_of_it_resample(config, frame, forks):
    presampler = Presampler(config)
    expected = presampler.prepare_images(frame).numpy().tobytes()
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        try:
            torch.set_num_threads(1)  # OpenMP's own threads do not come along either
            for _ in range(forks - 1):
                presampler.prepare_images(frame)
                if os.fork():
                    os._exit(0)
            os.write(theirs, bytes([presampler.prepare_images(frame).numpy().tobytes() == expected]))
        finally:
            os._exit(0)
    os.close(theirs)
    answered, _, _ = select.select([ours], [], [], PATIENCE)
    if not answered:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert answered and os.read(ours, 1) == b"\x01"
    os.close(ours)
