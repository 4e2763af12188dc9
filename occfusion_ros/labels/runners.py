"""Runs jobs in this process, in several, or on a Ray cluster; whatever becomes of a worker, every job has an outcome.

The pool of `concurrent.futures` will not do: it ends as a whole when one process is killed, and ends none that hangs.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from ..core.errors import OccFusionError, one_line

TRIES = 2
BEGIN_S = 600.0  # at least, that a worker has to load its model and to compile
UNMADE = 3  # workers in a row that may die before they are made
END_S = 5.0  # that a worker has to end before it is killed
Worker = Callable[[Any], dict[str, Any]]
MakeWorker = Callable[[], Worker]
Report = Callable[[int, int], None]  # of how many workers have not begun yet, and how many there are


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        job: as it was given. result: what the worker returned; None where it failed. reason: why it failed; else empty.
    """

    job: Any
    result: dict[str, Any] | None
    reason: str = ""


@dataclass(frozen=True)
class Share:
    """What a worker asks of its machine.

    Attributes:
        cpus: at least 1. gpus: whole ones, or a part of one that workers share; 0: none.
    """

    cpus: int
    gpus: float = 0.0

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPUs (--gpus-per-worker)" if self.gpus else ""
        return f"{self.cpus} CPUs (--threads){gpus}"

    def fits(self, resources: Mapping[str, float]) -> int:
        """How many such workers a machine has room for, of whose resources Ray tells."""
        count, gpus = int(resources.get("CPU", 0)) // self.cpus, int(resources.get("GPU", 0))
        if not self.gpus:
            return count
        return min(count, int(gpus // self.gpus) if self.gpus >= 1 else gpus * int(1 / self.gpus + 1e-9))


class RunnerError(OccFusionError):
    """No worker can work at all."""


def in_process(make: MakeWorker, jobs: Sequence[Any], tries: int = TRIES) -> Iterator[Outcome]:
    """Run jobs one after another in this process, those that fail once more at the end.

    Raises:
        OccFusionError: as `make` does.
    """
    worker, queue = make(), _Queue(jobs, tries)
    while queue.waiting:
        job = queue.waiting.popleft()
        try:
            yield Outcome(job, worker(job))
        except Exception as error:  # noqa: BLE001 - one job must not end the others
            yield from queue.failed(job, _reason(error))


def processes(
    make: MakeWorker, jobs: Sequence[Any], count: int, timeout_s: float, tries: int = TRIES
) -> Iterator[Outcome]:
    """Run jobs in processes; outcomes come as they are there.

    A worker that dies, takes more than `timeout_s` seconds for a job, or too long to begin, is replaced; a job that
    fails is tried again.
    Workers end with this process, however it ends.

    Args:
        make: makes a worker in its process; it and the jobs can be pickled.

    Raises:
        RunnerError: `UNMADE` workers in a row could not be made.
    """
    queue, unmade = _Queue(jobs, tries), 0
    workers = [_Process(make, timeout_s) for _ in range(min(count, len(jobs)))]
    try:
        while queue.waiting or any(worker.job for worker in workers):
            for worker in workers:
                if worker.ready and queue.waiting:
                    worker.begin(queue.waiting.popleft(), timeout_s)
            wait([worker.connection for worker in workers], _until(workers))
            for at, worker in enumerate(workers):
                if (outcome := worker.outcome()) is None:
                    continue
                job, result, reason = outcome
                unmade = 0 if worker.made else unmade + worker.over
                if unmade == UNMADE:
                    raise RunnerError(f"no worker can start: {reason}")
                if worker.over:
                    worker.end()
                    workers[at] = _Process(make, timeout_s)
                if job is not None:
                    yield from [Outcome(job, result)] if result is not None else queue.failed(job, reason)
    finally:
        for worker in workers:
            worker.end()


def on_ray(
    make: MakeWorker,
    jobs: Sequence[Any],
    address: str,
    share: Share,
    timeout_s: float,
    wait_s: float = BEGIN_S,
    tries: int = TRIES,
    report: Report = lambda waiting, workers: None,
) -> Iterator[Outcome]:
    """Run jobs in actors on all of a Ray cluster; jobs and results are all that travels.

    An actor that dies with its machine, or takes too long, is replaced, and its job tried again.

    Args:
        address: "auto", "local" for a cluster of this machine alone, or as Ray names it.
        share: of each actor.
        wait_s: seconds in which one worker at least has to begin, whatever else the cluster is busy with.
        report: called whenever a worker begins or ends.

    Raises:
        RunnerError: Ray is not installed, there is no such cluster, a worker cannot be made, or none could begin.
    """
    try:
        import ray
    except ImportError as error:
        raise RunnerError("Ray is not installed: pip install 'occfusion_ros[ray]'") from error
    began = not ray.is_initialized()
    if began:
        try:
            ray.init(address, log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError, RuntimeError, SystemExit) as error:
            # Ray ends the program where nobody answers.
            reason = "nobody answers" if isinstance(error, SystemExit) else one_line(error)
            raise RunnerError(f"there is no Ray cluster at {address}: {reason}") from error
    try:
        yield from _RayRun(ray, make, share, (timeout_s, wait_s), _Queue(jobs, tries), report).outcomes()
    finally:
        if began:
            ray.shutdown()


@dataclass
class _Queue:
    """Jobs that wait, and how often each has failed."""

    jobs: Sequence[Any]
    tries: int
    waiting: deque = field(init=False)
    failures: dict[Any, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.waiting = deque(self.jobs)

    def failed(self, job: Any, reason: str) -> list[Outcome]:
        """Have a job tried again after the others, or give its outcome if that was the last time."""
        self.failures[job] = self.failures.get(job, 0) + 1
        if self.failures[job] < self.tries:
            self.waiting.append(job)
            return []
        return [Outcome(job, None, reason)]


class _Process:
    """A worker process, and the job it is at.

    Attributes:
        made: whether it has made its worker. ready: whether it waits for a job. over: whether it died or was given up.
    """

    def __init__(self, make: MakeWorker, timeout_s: float) -> None:
        context = multiprocessing.get_context("spawn")  # threads and libraries do not outlive a fork
        self.connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make), daemon=True)
        self._process.start()
        other.close()  # so that its end shows here
        self.job, self.deadline_s = None, time.monotonic() + max(timeout_s, BEGIN_S)
        self.made = self.ready = self.over = False

    def begin(self, job: Any, timeout_s: float) -> None:
        """Give it a job."""
        self.job, self.ready, self.deadline_s = job, False, time.monotonic() + timeout_s
        with suppress(OSError):  # it died; its outcome says so
            self.connection.send(job)

    def outcome(self) -> tuple[Any, dict[str, Any] | None, str] | None:
        """Job, result and reason where there is news; the job is None where it is about the worker itself."""
        job = self.job
        try:
            if self.connection.poll():
                kind, content = self.connection.recv()
                if kind == "unmade":
                    self.over = True
                    return None, None, content
                self.job, self.deadline_s, self.made, self.ready = None, float("inf"), True, True
                return job, content if kind == "result" else None, content if kind == "failed" else ""
        except (EOFError, OSError):
            self._process.join(END_S)
            self.job, self.over = None, True
            return job, None, f"its worker ended with exit code {self._process.exitcode}"
        if time.monotonic() > self.deadline_s:
            self.job, self.over = None, True
            return job, None, "it took too long (--timeout-s)"
        return None

    def end(self) -> None:
        """End the process, whatever it does."""
        self.connection.close()  # which ends one that waits for a job
        if not self.ready:
            self._process.kill()
        self._process.join(END_S)
        self._process.kill()
        self._process.join()


def _until(workers: list[_Process]) -> float | None:
    """Seconds until the next deadline; None where there is none."""
    first = min(worker.deadline_s for worker in workers)
    return None if first == float("inf") else max(0.0, first - time.monotonic())


def _serve(connection: Connection, make: MakeWorker) -> None:
    """Work until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        worker = make()
    except Exception as error:  # noqa: BLE001 - told where it can be read
        connection.send(("unmade", _reason(error)))
        return
    with suppress(EOFError, OSError):
        connection.send(("made", ""))
        while True:
            job = connection.recv()
            try:
                answer = "result", worker(job)
            except Exception as error:  # noqa: BLE001 - one job must not end the others
                answer = "failed", _reason(error)
            connection.send(answer)


def _end_with_parent() -> None:
    """Wait for the parent's end, which may be a kill in the middle of a job."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _reason(error: Exception) -> str:
    """One sentence; what is no error of ours names its kind."""
    return one_line(error) if isinstance(error, OccFusionError) else f"{type(error).__name__}: {one_line(error)}"


class _RayActor:
    """A worker in an actor; errors are results, because Ray would send them with all that they hold."""

    def __init__(self, make: MakeWorker) -> None:
        self._unmade = ""
        try:
            self._worker = make()
        except Exception as error:  # noqa: BLE001 - told where it can be read
            self._unmade = _reason(error)

    def made(self) -> tuple[None, str]:
        """Why there is no worker; empty where there is one."""
        return None, self._unmade

    def work(self, job: Any) -> tuple[dict[str, Any] | None, str]:
        """Result, and reason where it failed."""
        try:
            return self._worker(job), ""
        except Exception as error:  # noqa: BLE001 - one job must not end the others
            return None, _reason(error)


class _RayRun:
    """The actors of a run, and the job of each."""

    def __init__(
        self, ray: Any, make: MakeWorker, share: Share, limits_s: tuple[float, float], queue: _Queue, report: Report
    ) -> None:
        self._ray, self._make, self._queue, self._report = ray, make, queue, report
        self._timeout_s, self._wait_s = limits_s
        needs = {"num_cpus": share.cpus, "num_gpus": share.gpus}
        self._share, self._kind, self._unmade = share, ray.remote(max_restarts=0, **needs)(_RayActor), 0
        self._at: dict[Any, tuple[Any, Any, float]] = {}  # by what is waited for: actor, job (None: made), deadline

    def outcomes(self) -> Iterator[Outcome]:
        """All of them, as they are there."""
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        room = sum(map(self._share.fits, machines))
        if not room:
            there = ", ".join(f"{each.get('CPU', 0):g} CPUs and {each.get('GPU', 0):g} GPUs" for each in machines)
            raise RunnerError(f"expected a machine of at least {self._share}, got {there or 'none'}")
        for _ in range(min(room, len(self._queue.waiting))):
            self._add_actor()
        begin_by = time.monotonic() + self._wait_s
        while self._queue.waiting or self._at_work():
            self._report(len(self._at) - self._at_work(), len(self._at))
            working = self._at_work() > 0
            if not working and time.monotonic() > begin_by:
                raise RunnerError(self._busy())
            self._ray.wait(list(self._at), num_returns=1, timeout=self._until(begin_by))
            if working:  # until now: who was at work may be lost, and another one be waited for
                begin_by = time.monotonic() + self._wait_s
            done, _ = self._ray.wait(list(self._at), num_returns=len(self._at), timeout=0)
            late = {ref for ref, (_, _, deadline) in self._at.items() if time.monotonic() > deadline}
            for ref in [*done, *(late - set(done))]:
                yield from self._take(ref, ref in done)

    def _at_work(self) -> int:
        return sum(job is not None for _, job, _ in self._at.values())

    def _busy(self) -> str:
        there, free = self._ray.cluster_resources(), self._ray.available_resources()
        kinds = ["CPU", *(["GPU"] if self._share.gpus else [])]
        have = " and ".join(
            f"{there.get(kind, 0):g} {kind}s, of which {free.get(kind, 0):g} are free" for kind in kinds
        )
        return (
            f"no worker could begin in {self._wait_s:g} s: each asks for {self._share} of one machine; the cluster has "
            f"{have}; wait longer with --wait-s"
        )

    def _take(self, ref: Any, there: bool) -> list[Outcome]:
        actor, job, _ = self._at.pop(ref)
        result, reason, lost = None, "it took too long (--timeout-s)", True
        if there:
            try:
                (result, reason), lost = self._ray.get(ref), False
            except self._ray.exceptions.RayError as error:
                reason = one_line(error)
        found = []
        if job is not None:
            found = [Outcome(job, result)] if result is not None else self._queue.failed(job, reason)
        elif reason:
            lost, self._unmade = True, self._unmade + 1
            if self._unmade == UNMADE:
                raise RunnerError(f"no worker can start: {reason}")
        else:
            self._unmade = 0
        if lost:
            self._ray.kill(actor)
        if self._queue.waiting:
            self._add_actor() if lost else self._begin(actor)
        return found

    def _add_actor(self) -> None:
        actor = self._kind.remote(self._make)
        self._at[actor.made.remote()] = (
            actor,
            None,
            float("inf"),
        )  # it may wait for a machine that is free while others work

    def _begin(self, actor: Any) -> None:
        job = self._queue.waiting.popleft()
        self._at[actor.work.remote(job)] = actor, job, time.monotonic() + self._timeout_s

    def _until(self, begin_by: float) -> float:
        own = () if self._at_work() else (begin_by,)
        return max(0.0, min(own + tuple(deadline for _, _, deadline in self._at.values())) - time.monotonic())
