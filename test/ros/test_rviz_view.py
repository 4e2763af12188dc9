"""The view of RViz: every display subscribes to what this robot publishes, and every image has its place."""

from pathlib import Path

import pytest
import yaml

from occfusion_ros.core.shipped import shipped
from occfusion_ros.ros.bringup.processes import bringup
from occfusion_ros.ros.bringup.rviz_view import TEMPLATE, image_remappings, make_view
from occfusion_ros.ros.node.parameters import NUSCENES_CAMERAS, NodeParameters

NUSCENES_IMAGES = tuple(f"/{camera}/image_rect_compressed" for camera in NUSCENES_CAMERAS)


@pytest.fixture(scope="module")
def template() -> dict:
    return yaml.safe_load(shipped(TEMPLATE).read_text())


def topics(view: dict, *, enabled: bool = True) -> dict[str, list[str]]:
    """Topics by the kind of their display."""
    found = {}
    for display in view["Visualization Manager"]["Displays"]:
        if display["Enabled"] is enabled and "Topic" in display:
            found.setdefault(display["Class"].split("/")[1], []).append(display["Topic"]["Value"])
    return found


def docks(view: dict, names: tuple[str, ...]) -> list[str]:
    """Those of the names that Qt's saved state has a place for, in its order."""
    state = bytes.fromhex(view["Window Geometry"]["QMainWindow State"])
    places = {name: state.find(len(raw := name.encode("utf-16-be")).to_bytes(4, "big") + raw) for name in names}
    return sorted((name for name in names if places[name] >= 0), key=places.get)


def test_nuscenes_has_the_view_that_ships(template):
    view = make_view(template, NodeParameters(), "/occfusion", "base_link")
    assert sorted(docks(template, NUSCENES_CAMERAS)) == sorted(NUSCENES_CAMERAS)
    assert view["Window Geometry"] == template["Window Geometry"]
    assert topics(view) == {
        "MarkerArray": ["/occfusion/markers"],
        "PointCloud2": ["/occfusion/points", "/lidar_top"],
        "Image": [f"{topic}/compressed" for topic in NUSCENES_IMAGES],
    }
    assert topics(view, enabled=False) == {"PointCloud2": ["/occfusion/unknown"]}
    assert image_remappings(NodeParameters(), "/occfusion") == tuple(zip(topics(view)["Image"], NUSCENES_IMAGES))


def test_a_robot_in_a_namespace_with_other_names(template):
    settings = NodeParameters(
        cameras=("cam_front", "left"),
        image_topics=("front/image/compressed", "/left/image_raw"),
        camera_info_topics=("/{camera}/info",),
        lidar_topic="roof/points",
        lidar_reliability="best_effort",
    )
    view = make_view(template, settings, "/robot1/occfusion", "chassis")
    manager = view["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "chassis"
    assert manager["Views"]["Current"]["Target Frame"] == "<Fixed Frame>"
    assert topics(view) == {
        "MarkerArray": ["/robot1/occfusion/markers"],
        "PointCloud2": ["/robot1/occfusion/points", "/robot1/roof/points"],
        "Image": ["/robot1/front/image/compressed", "/left/image_raw"],
    }
    assert image_remappings(settings, "/robot1/occfusion") == (), "RViz finds these by their own names"
    assert docks(view, ("left", *NUSCENES_CAMERAS)) == [
        "cam_front",
        "cam_back_left",
        "left",
        "cam_back",
        "cam_front_right",
        "cam_back_right",
    ], "not renamed in turn"
    assert {"left", "cam_front"} <= view["Window Geometry"].keys()
    assert not {"cam_back", "cam_front_right"} & view["Window Geometry"].keys()
    policies = {d["Topic"]["Value"]: d["Topic"]["Reliability Policy"] for d in manager["Displays"] if "Topic" in d}
    assert [topic for topic, policy in policies.items() if policy == "Best Effort"] == ["/robot1/roof/points"]


def test_without_cameras_there_are_no_images(template):
    view = make_view(template, NodeParameters(cameras=()), "/occfusion", "base_link")
    assert "Image" not in topics(view) and "Image" not in topics(view, enabled=False)
    assert not {*NUSCENES_CAMERAS} & view["Window Geometry"].keys()


def test_more_cameras_than_the_window_has_places_for_are_there_switched_off(template):
    names = tuple(f"camera_{number}" for number in range(8))
    view = make_view(template, NodeParameters(cameras=names), "/occfusion", "base_link")
    assert len(topics(view)["Image"]) == 6 and len(topics(view, enabled=False)["Image"]) == 2
    assert sorted(docks(view, names)) == sorted(names[:6])


@pytest.mark.parametrize("file, cameras", [("config/ddad.yaml", 6), ("config/lidar_only.yaml", 0)])
def test_rviz_is_started_with_the_view_of_the_parameters_file(file, cameras):
    plan = bringup({"rviz": "true", "namespace": "car", "params_file": str(shipped(file)), "base_frame": "body"})
    (rviz,) = (process for process in plan.processes if process.name == "rviz")
    view = yaml.safe_load(Path(rviz.arguments[1]).read_text())
    assert len(topics(view).get("Image", [])) == len(rviz.remappings) == cameras
    assert topics(view)["MarkerArray"] == ["/car/occfusion/markers"]
    assert view["Visualization Manager"]["Global Options"]["Fixed Frame"] == "body"
    assert not shipped(TEMPLATE).samefile(rviz.arguments[1])
