"""A Ray cluster of two machines, for which two network namespaces stand: each has its own address, its own folder of
Ray and copies of bags; the bag comes from a web server, labels go to a folder that both reach."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from helpers.labeling import files, label, null_arguments, tiny_bag

ADDRESSES = {"a": "10.213.77.1", "b": "10.213.77.2"}
PORT = 6379
RAY = Path(tempfile.gettempdir()) / "ray"  # where Ray keeps its sessions

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2 for network namespaces"
)


class Machine:
    """A network namespace whose processes see their own folders in place of some of the system's.

    Args:
        name: of `ADDRESSES`. folder: for what is its own.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.address = f"occ{os.getpid()}{name}", ADDRESSES[name]
        self._own, self.cache = folder / name, folder / "cache"
        for path in (self._own / "ray", self._own / "cache", self.cache, RAY):
            path.mkdir(parents=True, exist_ok=True)
        _ip("netns", "add", self.name)

    def start(self, *words: str) -> subprocess.Popen:
        """Start Python with arguments."""
        mounts = f"mount --bind {self._own}/ray {RAY} && mount --bind {self._own}/cache {self.cache}"
        shell = ["sh", "-c", f'{mounts} && exec "$@"', "sh", sys.executable, *words]
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, *shell], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def copies(self) -> list[Path]:
        """Bags that were copied to this machine."""
        return list((self._own / "cache").glob("*/*.mcap"))

    def end(self) -> None:
        """End its processes and take it away."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            pids = subprocess.run(["ip", "netns", "pids", self.name], stdout=subprocess.PIPE, text=True).stdout
            for pid in map(int, pids.split()):
                try:
                    os.kill(pid, sign)
                except ProcessLookupError:
                    continue
            time.sleep(3)
        _ip("netns", "del", self.name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """Two, connected by a cable, with a token that Ray's parts on them know each other by."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    pytest.importorskip("ray", reason="pip install 'occfusion_ros[ray]'")
    pytest.importorskip("aiohttp", reason="pip install aiohttp")
    found = [Machine(name, tmp_path) for name in ADDRESSES]
    try:
        ends = [f"v{machine.name[3:]}" for machine in found]
        _ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for machine, end in zip(found, ends):
            _ip("link", "set", end, "netns", machine.name)
            _ip("-n", machine.name, "addr", "add", f"{machine.address}/24", "dev", end)
            for device in ("lo", end):
                _ip("-n", machine.name, "link", "set", device, "up")
        yield found
    finally:
        for machine in found:
            machine.end()


def start_cluster(machines: list[Machine]) -> None:
    """Of one CPU each; the first has the head."""
    head = f"{machines[0].address}:{PORT}"
    for machine in machines:
        role = ["--head", f"--port={PORT}"] if machine is machines[0] else [f"--address={head}"]
        ray = machine.start(
            "-m", "ray.scripts.scripts", "start", *role, f"--node-ip-address={machine.address}", "--num-cpus=1"
        )
        text, _ = ray.communicate(timeout=120)
        assert ray.returncode == 0, text


@pytest.mark.parametrize("lost", [False, True])
def test_two_machines_write_the_same_bytes_even_when_one_is_lost(machines, lost, tmp_path):
    bag, words = tiny_bag(tmp_path / "bags", samples=12), [*null_arguments(tmp_path / "model"), "--slice-s", "0.1"]
    expected = label(bag, tmp_path / "expected", *words, "--workers", "0")
    start_cluster(machines)
    server = machines[0].start("-m", "http.server", "8000", "--directory", str(bag), "--bind", machines[0].address)
    url = f"http://{machines[0].address}:8000/{next(bag.glob('*.mcap')).name}"
    out, cluster = tmp_path / "out", ["--ray", f"{machines[0].address}:{PORT}", "--threads", "1"]
    driver = machines[0].start(
        *("-m", "occfusion_ros.labels", url, str(out), "--picture-every", "0", *words),
        *("--cache", str(machines[0].cache), *cluster),
    )
    if lost:
        wait_for_copy(machines[1], driver)
        _ip("-n", machines[1].name, "link", "set", f"v{machines[1].name[3:]}", "down")
    text, _ = driver.communicate(timeout=400)
    assert driver.returncode == 0, text
    server.kill()
    found = {name: content for name, content in files(out).items() if not name.startswith("spans/")}
    assert found == expected
    assert len(machines[0].copies()) == 1 and len(machines[1].copies()) == 1


def wait_for_copy(machine: Machine, driver: subprocess.Popen) -> None:
    """Until a worker there has begun to label."""
    deadline = time.monotonic() + 200
    while not machine.copies():
        assert time.monotonic() < deadline and driver.poll() is None, driver.communicate()[0]
        time.sleep(0.05)
