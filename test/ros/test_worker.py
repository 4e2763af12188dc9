"""The thread with a slot of one."""

import threading

import pytest

from occfusion_ros.ros.node.worker import LatestWorker


class Work:
    """Work that waits for the gate; `done` has what was finished, `started` tells that something began."""

    def __init__(self) -> None:
        self.gate, self.started, self.done = threading.Event(), threading.Semaphore(0), []

    def __call__(self, item: int) -> None:
        self.started.release()
        assert self.gate.wait(30)
        self.done.append(item)


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def worker(work):
    worker = LatestWorker(work)
    yield worker
    work.gate.set()
    worker.close()


@pytest.mark.parametrize("attempt", range(20))
def test_two_items_at_once_are_both_done(work, worker, attempt):
    """Whether or not the thread has taken the first by the time the second comes."""
    assert not worker.submit(1) and not worker.submit(2)
    work.gate.set()
    assert work.started.acquire(timeout=30) and work.started.acquire(timeout=30)
    worker.close()
    assert work.done == [1, 2]


def test_the_newest_waits_while_one_is_in_work(work, worker):
    worker.submit(0)
    assert work.started.acquire(timeout=30)
    assert [worker.submit(i) for i in (1, 2, 3)] == [False, True, True]
    work.gate.set()
    assert work.started.acquire(timeout=30)
    worker.close()
    assert work.done == [0, 3]


def test_the_oldest_of_three_at_once_gives_way(work, worker):
    assert sum(map(worker.submit, (0, 1, 2))) == 1
    work.gate.set()
    assert work.started.acquire(timeout=30) and work.started.acquire(timeout=30)
    worker.close()
    assert work.done in ([1, 2], [0, 2])
