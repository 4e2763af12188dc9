"""The view of RViz: every display subscribes to what this robot publishes, and every image has its place."""

from pathlib import Path

import pytest
import yaml

from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.core.shipped import shipped
from occfusion_ros.ros.bringup.processes import bringup
from occfusion_ros.ros.bringup.rviz_view import TEMPLATE, camera_remappings, make_view
from occfusion_ros.ros.node.parameters import NUSCENES_CAMERAS, NodeParameters

PANELS = ("Image", "Camera")  # displays with a window of their own
NUSCENES_IMAGES = tuple(f"/{camera}/image_rect_compressed" for camera in NUSCENES_CAMERAS)


@pytest.fixture(scope="module")
def template() -> dict:
    return yaml.safe_load(shipped(TEMPLATE).read_text())


def displays(view: dict) -> list[dict]:
    """All of them, those in groups too."""
    return [
        each for display in view["Visualization Manager"]["Displays"] for each in display.get("Displays", [display])
    ]


def named(view: dict, name: str) -> dict:
    (found,) = (display for display in displays(view) if display["Name"] == name)
    return found


def topics(view: dict, *, enabled: bool = True) -> dict[str, list[str]]:
    """Topics by the kind of their display."""
    found = {}
    for display in displays(view):
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
    shown = [f"{topic}/compressed" for topic in NUSCENES_IMAGES]
    assert topics(view) == {
        "MarkerArray": ["/occfusion/markers"],
        "PointCloud2": ["/lidar_top"],
        "Image": ["/occfusion/legend", *shown],
        "Camera": ["/cam_front/image_rect_compressed/compressed"],
    }
    assert topics(view, enabled=False) == {
        "PointCloud2": ["/occfusion/points", "/occfusion/unknown"],
        "Camera": [topic for topic in shown if "cam_front/" not in topic],
    }
    assert camera_remappings(NodeParameters(), "/occfusion") == tuple(zip(shown, NUSCENES_IMAGES)), "infos lie beside"


def test_classes_can_be_switched_at_once_and_have_a_legend(template):
    names = [each.name for each in OPENOCCUPANCY_CLASSES]
    assert named(template, "Occupancy")["Namespaces"] == dict.fromkeys(names, True)
    expanded = template["Panels"][0]["Property Tree Widget"]["Expanded"]
    assert {"/Occupancy1", "/Occupancy1/Namespaces1"} <= set(expanded)
    assert docks(template, ("Classes", "on cam_front")) == ["on cam_front", "Classes"]
    legend = named(template, "Classes")["Topic"]
    assert (legend["Value"], legend["Durability Policy"]) == ("/occfusion/legend", "Transient Local"), "it comes once"


def test_nothing_but_the_occupancy_has_colors_of_classes(template):
    assert named(template, "LiDAR sweep")["Color Transformer"] == "FlatColor"
    red, green, blue = map(int, named(template, "LiDAR sweep")["Color"].split("; "))
    assert red == green == blue


def test_the_occupancy_lies_over_images_and_little_else_does(template):
    others = {display["Name"] for display in displays(template) if display["Class"].split("/")[1] not in PANELS}
    for camera in NUSCENES_CAMERAS:
        visible = named(template, f"on {camera}")["Visibility"]
        assert set(visible) == {*others, "Value"}, "all are told"
        assert {name for name in others if visible[name]} == {"Occupancy", "Occupancy as points"}


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
        "PointCloud2": ["/robot1/roof/points"],
        "Image": ["/robot1/occfusion/legend", "/robot1/front/image/compressed", "/left/image_raw"],
        "Camera": ["/left/image_raw"],
    }
    assert camera_remappings(settings, "/robot1/occfusion") == (
        ("/robot1/front/camera_info", "/cam_front/info"),
        ("/left/camera_info", "/left/info"),
    ), "RViz finds the images by their own names"
    assert docks(view, ("on cam_front", "on left")) == ["on left"]
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
    assert topics(view)["Image"] == ["/occfusion/legend"]
    assert not {"Image", "Camera"} & topics(view, enabled=False).keys() and "Camera" not in topics(view)
    assert not {*NUSCENES_CAMERAS, "on cam_front"} & view["Window Geometry"].keys()
    assert all("Group" not in display["Class"] for display in view["Visualization Manager"]["Displays"])


def test_more_cameras_than_the_window_has_places_for_are_there_switched_off(template):
    names = tuple(f"camera_{number}" for number in range(8))
    view = make_view(template, NodeParameters(cameras=names), "/occfusion", "base_link")
    assert len(topics(view)["Image"]) == 1 + 6 and len(topics(view, enabled=False)["Image"]) == 2
    assert len(topics(view)["Camera"]) == 1 and len(topics(view, enabled=False)["Camera"]) == 7
    assert sorted(docks(view, names)) == sorted(names[:6])


def test_images_side_by_side_leave_open_which_info_is_whose():
    settings = NodeParameters(
        cameras=("a", "b"),
        image_topics=("/images/{camera}",),
        image_transport="raw",
        camera_info_topics=("/{camera}/info",),
    )
    assert camera_remappings(settings, "/occfusion") == ()


@pytest.mark.parametrize("file, cameras", [("config/ddad.yaml", 6), ("config/lidar_only.yaml", 0)])
def test_rviz_is_started_with_the_view_of_the_parameters_file(file, cameras):
    plan = bringup({"rviz": "true", "namespace": "car", "params_file": str(shipped(file)), "base_frame": "body"})
    (rviz,) = (process for process in plan.processes if process.name == "rviz")
    view = yaml.safe_load(Path(rviz.arguments[1]).read_text())
    assert len(topics(view)["Image"]) - 1 == len(rviz.remappings) == cameras
    assert topics(view)["MarkerArray"] == ["/car/occfusion/markers"]
    assert view["Visualization Manager"]["Global Options"]["Fixed Frame"] == "body"
    assert not shipped(TEMPLATE).samefile(rviz.arguments[1])
