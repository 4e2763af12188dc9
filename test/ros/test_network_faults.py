"""Node and sensors on two machines, with a line between them that delays and loses packets."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import lossy_network

TESTS = Path(__file__).parents[1]
NODE = """
import sys
from occfusion_ros.ros.node import lifecycle_node, main
from helpers.rig import VoxelPipeline
lifecycle_node.load_pipeline = lambda parameters: VoxelPipeline()
sys.exit(main.main(["--ros-args", "-p", "cameras:=[cam_front]", "-p", "max_wait_s:=1.0"]))
"""


@pytest.fixture
def network():
    if reason := lossy_network.unavailable_reason():
        pytest.skip(reason)
    network = lossy_network.LossyNetwork(delay_s=0.2, loss=0.05)
    yield network
    network.close()


@pytest.fixture
def environment(ros_domain, tmp_path) -> dict[str, str]:
    """Of processes that speak over the network alone."""
    (tmp_path / "plain.xml").write_text('<dds xmlns="http://www.eprosima.com"/>')
    return {
        **os.environ,
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
        "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4",
        "FASTDDS_DEFAULT_PROFILES_FILE": str(tmp_path / "plain.xml"),
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
    }


def test_the_default_profile_reaches_another_machine(network, environment):
    """Shared memory within a machine must not be all; the far side has no profile, as any laptop."""
    network.delay_s = network.loss = 0.0
    near = {**environment, "FASTDDS_DEFAULT_PROFILES_FILE": "", "FASTDDS_BUILTIN_TRANSPORTS": ""}
    node = subprocess.Popen(network.command(0, sys.executable, "-c", NODE), env=near, stderr=subprocess.DEVNULL)
    try:
        found = run_sensors(network, environment, 3)
        assert len(found["answered"]) >= 0.8 * len(found["sent"])
    finally:
        node.send_signal(signal.SIGINT)
        assert node.wait(20) == 0


def run_sensors(network, environment, seconds: float) -> dict:
    """What the sensors on the other machine sent and got."""
    command = network.command(1, sys.executable, "-m", "helpers.far_sensors", str(seconds))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["answered"] == sorted(set(found["answered"])) and set(found["answered"]) <= set(found["sent"])
    return found


@pytest.mark.sensors
def test_delay_and_loss_cost_sweeps_but_never_a_wrong_answer_and_all_recovers(network, environment):
    """A packet that is lost costs a sweep or an image; each that came is accounted for."""
    node = subprocess.Popen(network.command(0, sys.executable, "-c", NODE), env=environment, stderr=subprocess.DEVNULL)
    try:
        found = run_sensors(network, environment, 5)
        numbers = {key: int(value) for key, value in found["reported"].items() if value.isdigit()}
        told = sum(value for key, value in numbers.items() if key == "published" or key.startswith("dropped: "))
        assert network.lost > 0, "nothing was lost on the way"
        assert len(found["answered"]) >= 0.6 * len(found["sent"])
        assert found["reported"]["/lidar_top"].split(", ")[1] == f"{told} received"
        network.delay_s = network.loss = 0.0
        found = run_sensors(network, environment, 3)
        assert len(found["answered"]) >= 0.8 * len(found["sent"])
        assert sum(map(len, found["cameras"])) >= 0.8 * len(found["answered"])
        node.send_signal(signal.SIGINT)
        assert node.wait(20) == 0
    finally:
        node.kill()
