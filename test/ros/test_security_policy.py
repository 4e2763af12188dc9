"""The SROS2 policy is what the node does, no more and no less."""

import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers.rig import NOW, POINTS, S
from helpers.ros_messages import cloud
from rclpy.lifecycle import LifecycleNode

from occfusion_ros.ros.node.parameters import NodeParameters
from occfusion_ros.ros.tools.security_policy import OPTIONAL, SERVED, main, policy

CONFIG = Path(__file__).parents[2] / "config"
LIFECYCLE = {f"/occfusion/{name}" for name in (*SERVED[-5:], "transition_event")}


def allowed(text: str) -> dict[str, set[str]]:
    """Names by right."""
    profile = ElementTree.fromstring(text.encode()).find("enclaves/enclave/profiles/profile")
    return {right: {name.text for name in rules} for rules in profile for right in rules.keys()}


def test_the_file_that_ships_is_for_the_default_parameters(capsys):
    assert (CONFIG / "sros2_policy.xml").read_text() == policy(NodeParameters())
    assert main(["--check", str(CONFIG / "sros2_policy.xml")]) == 0
    assert main(["--check", str(CONFIG / "sros2_policy.xml"), "--node", "other"]) == 1
    assert "write it anew" in capsys.readouterr().err


def test_the_running_node_does_what_the_policy_allows_and_nothing_else(camera_rig):
    rig, node = camera_rig, camera_rig.node
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + S))
    rig.wait_for_occupancy(1)
    rig.wait(lambda: rig.node.count_publishers("/occfusion/debug/processing_time_ms/total"), "the times")
    who = (node.get_name(), node.get_namespace())
    does = {
        "publish": node.get_publisher_names_and_types_by_node(*who),
        "subscribe": node.get_subscriber_names_and_types_by_node(*who),
        "reply": node.get_service_names_and_types_by_node(*who),
        "request": node.get_client_names_and_types_by_node(*who),
    }
    rules = allowed(policy(NodeParameters(cameras=("cam_front",))))
    optional = {name.replace("~", "/occfusion") for name in OPTIONAL}
    may_be_missing = {"/clock", *optional, *(set() if isinstance(node, LifecycleNode) else LIFECYCLE)}
    for right, pairs in does.items():
        names, patterns = {name for name, _ in pairs}, rules.get(right, set())
        assert {name for name in names if not any(fnmatchcase(name, p) for p in patterns)} == set(), right
        unused = {p for p in patterns if not any(fnmatchcase(name, p) for name in names)}
        assert unused <= may_be_missing, right


def test_a_policy_follows_the_parameters(tmp_path, capsys):
    path = tmp_path / "car.yaml"
    path.write_text(
        "/**:\n  ros__parameters: {lidar_topic: roof/points, cameras: [left], image_topics: ['~/{camera}'],"
        " camera_info_topics: [/info], other: 1}\n"
    )
    assert main(["--params-file", str(path), "--namespace", "/car"]) == 0
    text = capsys.readouterr().out
    assert ElementTree.fromstring(text.encode()).find("enclaves/enclave").get("path") == "/car/occfusion"
    assert allowed(text)["subscribe"] == {
        "/car/roof/points",
        "/car/occfusion/left",
        "/info",
        "/clock",
        "/tf",
        "/tf_static",
    }
    assert "/car/occfusion/occupancy" in allowed(text)["publish"]


def test_a_policy_names_every_lidar(tmp_path, capsys):
    path = tmp_path / "car.yaml"
    path.write_text("/**:\n  ros__parameters: {lidar_topics: [/front, /rear], cameras: ['']}\n")
    assert main(["--params-file", str(path)]) == 0
    assert allowed(capsys.readouterr().out)["subscribe"] == {"/front", "/rear", "/clock", "/tf", "/tf_static"}


@pytest.mark.parametrize("text", ["", "a: [", "a: 1", "/**:\n  ros__parameters: {cameras: [a, a]}"])
def test_what_is_no_parameters_file_is_named(tmp_path, capsys, text):
    (tmp_path / "car.yaml").write_text(text)
    assert main(["--params-file", str(tmp_path / "car.yaml")]) == 1
    assert "error: " in capsys.readouterr().err


def test_where_security_cannot_be_enforced_the_node_does_not_run_unprotected(ros_domain, tmp_path):
    (tmp_path / "enclaves/occfusion").mkdir(parents=True)
    environment = {
        **os.environ,
        "ROS_SECURITY_ENABLE": "true",
        "ROS_SECURITY_STRATEGY": "Enforce",
        "ROS_SECURITY_KEYSTORE": str(tmp_path),
        "PYTHONPATH": str(CONFIG.parent),
    }
    command = [sys.executable, "-m", "occfusion_ros.ros.node.main", "--ros-args", "--enclave", "/occfusion"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "ready" not in done.stderr, done.stderr
    assert "cannot start: RCLError: " in done.stderr and "Traceback" not in done.stderr, done.stderr
