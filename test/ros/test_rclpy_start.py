"""Every command says in one sentence why ROS cannot start, and leaves nothing in shared memory."""

import os
import subprocess
import sys

import pytest

from occfusion_ros.ros.startup.rclpy_start import messages_needed

REASONS = [
    ("ROS_DOMAIN_ID", "robot1", "ROS_DOMAIN_ID is not an integral number"),
    ("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp", "rmw_cyclonedds_cpp, which is not installed"),
    ("HOME", "/proc/nowhere", "Failed to create log directory '/proc/nowhere/.ros/log'"),
    ("ROS_LOG_DIR", "/proc/nowhere", "Failed to create log directory '/proc/nowhere'"),
    ("ROS_SECURITY_ENABLE", "true", "ROS_SECURITY_KEYSTORE is not set: make keys"),
]
COMMANDS = [
    "node.main",
    "tools.doctor",
    "tools.snapshot",
    "without_ros.play_bag",
    "without_ros.static_transform_publisher",
]


def _command(name: str, tmp_path) -> list[str]:
    arguments = {
        "without_ros.play_bag": [str(tmp_path)],
        "without_ros.static_transform_publisher": ["--frame-id", "a", "--child-frame-id", "b"],
    }
    return [sys.executable, "-m", f"occfusion_ros.ros.{name}", *arguments.get(name, [])]


def _environment(variable: str, value: str) -> dict[str, str]:
    without = {name: text for name, text in os.environ.items() if name != "ROS_LOG_DIR"}
    return {**without, "ROS_SECURITY_STRATEGY": "Enforce", variable: value}


@pytest.fixture(scope="module")
def alone() -> list[str]:
    """Words before a command, after whose output "left: " comes with its exit code and what it left in shared memory.

    It has one of its own, because other processes use this machine's; nothing is listed without the right to mount.
    """
    mount = "mount -t tmpfs tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        return ["sh", "-c", '"$@"; echo "left: $?"', "sh"]
    return ["unshare", "-m", "sh", "-c", f'{mount}; "$@"; echo "left: $?"; ls -A /dev/shm', "sh"]


def _pairs() -> list[tuple[str, ...]]:
    """Every reason with two commands and every command with two reasons: all of them start ROS by one function."""
    return [(COMMANDS[(n + more) % len(COMMANDS)], *reason) for n, reason in enumerate(REASONS) for more in (0, 1)]


@pytest.mark.parametrize("command, variable, value, said", _pairs())
def test_a_command_says_why_ros_cannot_start(tmp_path, alone, command, variable, value, said):
    result = subprocess.run(
        [*alone, *_command(command, tmp_path)],
        env=_environment(variable, value),
        capture_output=True,
        text=True,
        timeout=120,
    )
    output, _, left = (result.stderr + result.stdout).rpartition("left: ")
    assert "cannot start: " in output and said in output and "Traceback" not in output, output
    left = [name for name in left.split() if not name.startswith("lttng-ust-wait")]  # tracing: one for all
    assert left == ["1"]


@pytest.mark.parametrize("command", ["node.main", "tools.snapshot"])
def test_a_command_says_how_missing_messages_are_built(command):
    code = (
        f"import sys; sys.modules['occfusion_msgs'] = None; from occfusion_ros.ros.{command} import main; "
        "sys.exit(main([]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    output = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in output and output.count("\n") == 1, output
    assert "colcon build --base-paths . occfusion_msgs" in output


def test_no_other_missing_module_is_taken_for_the_messages():
    with pytest.raises(ImportError, match="something"), messages_needed():
        raise ImportError("something", name="something")
