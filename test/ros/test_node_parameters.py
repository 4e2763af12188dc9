"""Parameters: checks, topics, documentation, and what reaches the node from files and the command line."""

from dataclasses import fields

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus

from occfusion_ros.core.shipped import shipped
from occfusion_ros.ros.node.declared_parameters import declare_parameters, read_parameters
from occfusion_ros.ros.node.parameters import NUSCENES_CAMERAS, NodeParameters, ParameterError
from occfusion_ros.ros.node.parameters_page import GROUPS, tables


def test_defaults_are_nuscenes_topics():
    parameters = NodeParameters()
    assert len(parameters.cameras) == 6
    assert parameters.camera_topics()["cam_front"] == ("/cam_front/image_rect_compressed", "/cam_front/camera_info")
    assert parameters.is_compressed("/cam_front/image_rect_compressed")


def test_shipped_file_holds_the_defaults():
    with open(shipped("config/occfusion.yaml")) as file:
        values = yaml.safe_load(file)["/**"]["ros__parameters"]
    assert NodeParameters(**values) == NodeParameters()


@pytest.mark.parametrize(
    "values, topics",
    [
        (
            {"cameras": ["left", "right"], "image_topics": ["/a", "/b"], "camera_info_topics": ["/{camera}/info"]},
            {"left": ("/a", "/left/info"), "right": ("/b", "/right/info")},
        ),
        ({"cameras": ["left"], "image_topics": ["/a"], "camera_info_topics": ["/info"]}, {"left": ("/a", "/info")}),
        ({"cameras": []}, {}),
        ({"cameras": [""], "image_topics": [""], "camera_info_topics": []}, {}),
        ({"cameras": None}, {}),
    ],
)
def test_topics(values, topics):
    assert NodeParameters(**values).camera_topics() == topics


@pytest.mark.parametrize("given, meant", [(True, "true"), (False, "false"), ("auto", "auto"), ("true", "true")])
def test_files_and_command_lines_give_true_and_false_without_quotes(given, meant):
    assert NodeParameters(images_rectified=given).images_rectified == meant


@pytest.mark.parametrize(
    "transport, topic, compressed",
    [
        ("auto", "/cam/image_raw/compressed", True),
        ("auto", "/cam/image_raw", False),
        ("raw", "/cam/compressed", False),
        ("compressed", "/cam/jpeg", True),
    ],
)
def test_transport(transport, topic, compressed):
    assert NodeParameters(image_transport=transport).is_compressed(topic) is compressed


@pytest.mark.parametrize(
    "values, message",
    [
        ({"cameras": ["a", "b"], "image_topics": ["/a"]}, "expected one pattern with {camera} or 2 topics"),
        ({"cameras": ["a", "a"]}, "different names"),
        ({"cameras": [], "image_topics": ["/a"]}, "0 topics"),
        ({"images_rectified": "yes"}, "one of auto, true, false, got 'yes'"),
        ({"image_transport": "theora"}, "one of auto, raw, compressed, got 'theora'"),
        ({"lidar_reliability": "perhaps"}, "one of auto"),
        ({"max_wait_s": -1.0}, "expected 0.0 to 10.0, got -1.0"),
        ({"intensity_max": 0.0}, "intensity_max"),
        ({"max_wait_s": float("nan")}, "max_wait_s"),
        ({"camera_depth": 0}, "camera_depth"),
    ],
)
def test_values_that_make_no_sense_are_refused(values, message):
    with pytest.raises(ParameterError, match=message):
        NodeParameters(**values)


def test_only_live_parameters_change():
    parameters = NodeParameters()
    assert parameters.changed({"max_markers": 5}).max_markers == 5
    with pytest.raises(ParameterError, match="cameras can only change while the node is unconfigured"):
        parameters.changed({"cameras": ["a"], "max_markers": 5})
    with pytest.raises(ParameterError, match="max_markers"):
        parameters.changed({"max_markers": -5})


def test_tables_document_every_parameter():
    rows = [line for line in tables().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [field.name for field in fields(NodeParameters)]
    assert all(row.count("|") == 5 for row in rows)
    assert all(field.metadata["description"] for field in fields(NodeParameters))
    assert set(GROUPS) <= {field.name for field in fields(NodeParameters)}


@pytest.fixture
def node(ros_domain, request):
    import rclpy
    from rclpy.node import Node

    context = rclpy.Context()
    rclpy.init(args=["test", "--ros-args", *request.param], context=context)
    made = Node("occfusion", context=context)
    yield made
    made.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize(
    "node, expected",
    [
        ([], NUSCENES_CAMERAS),
        (["-p", "cameras:=[]"], ()),
        (["-p", 'cameras:=[""]'], ()),
        (["-p", "cameras:=[a, b]"], ("a", "b")),
        (["--params-file", str(shipped("config/occfusion.yaml"))], NUSCENES_CAMERAS),
    ],
    indirect=["node"],
)
def test_cameras_as_ros_gives_them(node, expected):
    declare_parameters(node)
    assert read_parameters(node).cameras == expected


@pytest.mark.parametrize("node", [[]], indirect=True)
def test_descriptors(node):
    declare_parameters(node)
    assert node.describe_parameter("autostart").read_only and not node.describe_parameter("max_markers").read_only
    assert node.describe_parameter("threads").integer_range[0].to_value == 256
    assert node.describe_parameter("max_wait_s").floating_point_range[0].to_value == 10.0
    assert all(node.describe_parameter(field.name).description for field in fields(NodeParameters))


@pytest.mark.parametrize(
    "node", [["-p", "camera_depth:=0"], ["-p", "max_wait_s:=99.0"], ["-p", "model:=5"]], indirect=True
)
def test_ros_refuses_values_out_of_range(node):
    from rclpy.exceptions import ParameterException

    with pytest.raises(ParameterException):
        declare_parameters(node)


def test_a_mistyped_parameter_is_named_with_the_one_that_may_be_meant(start):
    rig = start(lidar_dept=3, zzz=1, use_sim_time=False, **{"qos_overrides./parameter_events.publisher.depth": 5})
    text = "active; there are no such parameters: lidar_dept (lidar_depth?), zzz"
    assert rig.wait_for_status("state", DiagnosticStatus.WARN).message == text
