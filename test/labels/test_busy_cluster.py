"""Workers that a busy Ray cluster has no room for are waited for, but not without limit."""

import time
from pathlib import Path

import pytest
from helpers.toy_workers import Job, make

from occfusion_ros.labels.runners import RunnerError, Share, on_ray


@pytest.fixture
def ray(monkeypatch):
    """A cluster of two CPUs, one of which somebody uses."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    ray = pytest.importorskip("ray", reason="pip install 'occfusion_ros[ray]'")
    ray.init("local", num_cpus=2, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


def occupied(ray, cpus: int):  # -> ray.actor.ActorHandle
    """Something else that runs on the cluster."""

    class Other:
        def here(self) -> bool:
            return True

    actor = ray.remote(num_cpus=cpus)(Other).remote()
    assert ray.get(actor.here.remote())
    return actor


def test_where_none_can_begin_it_ends_and_says_what_there_is(ray, tmp_path):
    other = occupied(ray, 2)
    reports = []
    with pytest.raises(RunnerError, match="each asks for 1 CPUs .* has 2 CPUs, of which 0 are free") as raised:
        for _ in on_ray(
            make(tmp_path), [Job("good-1")], "local", Share(1), 30.0, 2.0, report=lambda *at: reports.append(at)
        ):
            pass
    assert "no worker could begin in 2 s" in str(raised.value) and reports[0] == (1, 1)
    assert ray.get(other.here.remote())


def patience(folder: Path) -> float:
    """Seconds in which a worker begins on this machine, busy as it is."""
    start, jobs = time.monotonic(), [Job("killed-0")]  # Ray has its first worker ready, not who comes after it
    assert [outcome.result for outcome in on_ray(make(folder), jobs, "local", Share(1), 300.0)] == [
        {"name": "killed-0"}
    ]
    return 5 + 2 * (time.monotonic() - start)


def waiting_jobs(seconds: float) -> list[Job]:
    """Of half a second each."""
    return [Job(f"wait-{index}") for index in range(int(2 * seconds) + 1)]


def test_some_work_while_others_wait(ray, tmp_path):
    wait_s, other, reports = patience(tmp_path), occupied(ray, 1), []
    jobs = waiting_jobs(wait_s)  # all together take longer than may be waited
    found = list(on_ray(make(tmp_path), jobs, "local", Share(1), 300.0, wait_s, report=lambda *at: reports.append(at)))
    assert {outcome.job for outcome in found} == set(jobs) and all(outcome.result for outcome in found)
    assert reports[0] == (2, 2) and (1, 2) in reports and (0, 2) not in reports
    assert ray.get(other.here.remote())


def test_who_comes_after_one_that_was_lost_gets_its_own_time_to_begin(ray, tmp_path):
    wait_s = patience(tmp_path)
    jobs = [*waiting_jobs(wait_s), Job("killed-1"), Job("good-1")]  # it is lost when the first one's time is long over
    found = list(on_ray(make(tmp_path), jobs, "local", Share(2), 300.0, wait_s))
    assert {outcome.job for outcome in found} == set(jobs) and all(outcome.result for outcome in found)
    assert (tmp_path / "killed-1").read_text() == "xx"


def test_whoever_comes_free_is_used(ray, tmp_path):
    others, jobs = [occupied(ray, 2)], [Job("good-1")]
    ends = on_ray(
        make(tmp_path), jobs, "local", Share(1), 30.0, 30.0, report=lambda *_: others and ray.kill(others.pop())
    )
    assert [outcome.result for outcome in ends] == [{"name": "good-1"}] and not others
