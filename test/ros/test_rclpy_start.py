"""Every command says in one sentence why ROS cannot start."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("command", ["main", "doctor", "snapshot", "play_bag", "static_transform_publisher"])
@pytest.mark.parametrize("variable, value, said", [
    ("ROS_DOMAIN_ID", "robot1", "ROS_DOMAIN_ID is not an integral number"),
    ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp", "rmw_cyclonedds_cpp, which is not installed")])
def test_a_command_says_why_ros_cannot_start(tmp_path, command, variable, value, said):
    arguments = {"play_bag": [str(tmp_path)],
                 "static_transform_publisher": ["--frame-id", "a", "--child-frame-id", "b"]}
    result = subprocess.run([sys.executable, "-m", f"occfusion_ros.ros.{command}", *arguments.get(command, [])],
                            env={**os.environ, variable: value}, capture_output=True, text=True, timeout=120)
    output = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in output, output
    assert "cannot start: " in output and said in output
