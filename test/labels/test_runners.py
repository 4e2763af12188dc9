"""Every job has an outcome, whatever becomes of its worker."""

import os
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import pytest
from helpers.toy_workers import Job, make, unmade

from occfusion_ros.labels.runners import Outcome, RunnerError, Share, in_process, on_ray, processes

TIMEOUT_S = 30.0
GOOD = [Job(f"good-{index}") for index in range(5)]


def by_name(outcomes) -> dict[str, Outcome]:
    return {outcome.job.name: outcome for outcome in outcomes}


def alive(pids) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and b"Z" not in state(pid)]


def state(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2][:3]
    except OSError:
        return b"Z"


def test_in_this_process_a_job_that_fails_is_tried_once_more(tmp_path):
    found = by_name(in_process(make(tmp_path), [Job("once-1"), *GOOD, Job("raise-1")]))
    assert found["once-1"].result == {"name": "once-1"}
    assert found["raise-1"] == Outcome(Job("raise-1"), None, "ValueError: raise-1 is bad")
    assert all(found[job.name].result for job in GOOD) and (tmp_path / "raise-1").read_text() == "xx"


def test_in_processes_a_worker_that_dies_or_hangs_is_replaced(tmp_path):
    jobs = [Job("die-1"), Job("once-1"), Job("hang-1"), *GOOD, Job("killed-1"), Job("raise-1")]
    found = by_name(processes(make(tmp_path), jobs, 3, timeout_s=4.0))
    assert set(found) == {job.name for job in jobs}
    assert all(found[name].result for name in ("once-1", "killed-1", *(job.name for job in GOOD)))
    assert found["die-1"].reason == "its worker ended with exit code -9"
    assert found["hang-1"].reason.startswith("it took too long")
    assert found["raise-1"].reason == "ValueError: raise-1 is bad"
    assert not active_children()


def test_a_worker_that_cannot_be_made_is_said_at_once():
    with pytest.raises(ValueError, match="no such model"):
        list(in_process(unmade, GOOD))
    with pytest.raises(RunnerError, match="no such model"):
        list(processes(unmade, GOOD, 2, TIMEOUT_S))
    assert not active_children()


def test_whoever_stops_early_leaves_no_process(tmp_path):
    outcomes = processes(make(tmp_path), [Job("good-1"), Job("hang-1"), Job("hang-2")], 2, TIMEOUT_S)
    assert next(outcomes).result
    assert active_children()
    outcomes.close()
    assert not active_children()


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    code = (
        "import sys, os; from pathlib import Path; from helpers.toy_workers import Job, make\n"
        "from occfusion_ros.labels.runners import processes\n"
        "if __name__ == '__main__':\n"
        "    list(processes(make(Path(sys.argv[1])), [Job('hang-1'), Job('hang-2')], 2, 600))\n"
    )
    (tmp_path / "main.py").write_text(code)
    test = str(Path(__file__).parents[1])
    parent = subprocess.Popen(
        [sys.executable, "main.py", str(tmp_path)], cwd=tmp_path, env={**os.environ, "PYTHONPATH": test}
    )
    deadline = time.monotonic() + 60
    while not all((tmp_path / name).exists() for name in ("hang-1", "hang-2")):
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    workers = [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]
    assert len(alive(workers)) >= 2
    parent.kill()
    parent.wait()
    while alive(workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("share", "resources", "count"),
    [
        (Share(2), {"CPU": 5.0}, 2),
        (Share(2), {"CPU": 1.0, "GPU": 8.0}, 0),
        (Share(1), {}, 0),
        (Share(1, 1.0), {"CPU": 8.0}, 0),
        (Share(1, 1.0), {"CPU": 8.0, "GPU": 2.0}, 2),
        (Share(1, 2.0), {"CPU": 8.0, "GPU": 5.0}, 2),
        (Share(1, 0.5), {"CPU": 8.0, "GPU": 2.0}, 4),
        (Share(1, 0.1), {"CPU": 80.0, "GPU": 2.0}, 20),
        (Share(1, 0.7), {"CPU": 8.0, "GPU": 3.0}, 3),  # what is left of each cannot be put together
        (Share(3, 0.25), {"CPU": 8.0, "GPU": 2.0}, 2),
    ],
)
def test_as_many_workers_fit_as_a_machine_has_room_for(share, resources, count):
    assert share.fits(resources) == count


@pytest.fixture
def ray(monkeypatch):
    """Ray, whose workers find what lies beside the tests."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    return pytest.importorskip("ray", reason="pip install 'occfusion_ros[ray]'")


def test_on_ray_the_same_happens(ray, tmp_path):
    jobs = [Job("die-1"), Job("once-1"), Job("hang-1"), *GOOD, Job("killed-1"), Job("raise-1")]
    found = by_name(on_ray(make(tmp_path), jobs, "local", Share(1), timeout_s=15.0))
    assert set(found) == {job.name for job in jobs}
    assert all(found[name].result for name in ("once-1", "killed-1", *(job.name for job in GOOD)))
    assert all(found[name].result is None and found[name].reason for name in ("die-1", "hang-1", "raise-1"))


def test_a_node_that_is_lost_costs_no_job(ray, tmp_path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    other = cluster.add_node(num_cpus=2)
    try:
        jobs, found = [Job(f"wait-{index}") for index in range(30)], {}
        for outcome in on_ray(make(tmp_path), jobs, cluster.address, Share(1), TIMEOUT_S):
            found[outcome.job.name] = outcome
            if len(found) == 6:
                cluster.remove_node(other, allow_graceful=False)
        assert set(found) == {job.name for job in jobs} and all(outcome.result for outcome in found.values())
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_what_ray_cannot_run_is_said(ray):
    with pytest.raises(RunnerError, match="no such model"):
        list(on_ray(unmade, GOOD, "local", Share(1), TIMEOUT_S))


@pytest.mark.parametrize(
    ("answer", "reason"), [(ConnectionError("no running Ray"), "no running Ray"), (SystemExit(15), "nobody answers")]
)
def test_without_a_cluster_it_is_said(ray, answer, reason, monkeypatch):
    """As Ray answers where no cluster runs here, and where none is at an address; tests beside this one run some."""

    def init(*_, **__) -> None:
        raise answer

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RunnerError, match=f"there is no Ray cluster at auto: {reason}"):
        list(on_ray(make(Path()), GOOD, "auto", Share(1), TIMEOUT_S))


@pytest.mark.parametrize(
    ("gpus", "workers", "seen"), [(0.0, 4, {"", None}), (1.0, 2, {"0", "1"}), (0.5, 4, {"0", "1"}), (2.0, 1, {"0,1"})]
)
def test_workers_get_the_gpus_that_they_ask_for(ray, gpus, workers, seen, tmp_path):
    """GPUs that are counted alone: none has to be there."""
    jobs, reports = [Job(f"gpu-{index}") for index in range(8)], []
    ray.init("local", num_cpus=4, num_gpus=2, log_to_driver=False, logging_level="error")
    try:
        found = list(
            on_ray(make(tmp_path), jobs, "local", Share(1, gpus), TIMEOUT_S, report=lambda *at: reports.append(at))
        )
        assert reports[0] == (workers, workers)
        assert {outcome.result["gpu"] for outcome in found} <= seen
        with pytest.raises(
            RunnerError, match=r"least 1 CPUs .* and 3 GPUs \(--gpus-per-worker\), got 4 CPUs and 2 GPUs"
        ):
            list(on_ray(make(tmp_path), jobs, "local", Share(1, 3.0), TIMEOUT_S))
    finally:
        ray.shutdown()
