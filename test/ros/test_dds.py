"""The Fast DDS profile is set where the user set none."""

import os
import xml.etree.ElementTree as ET

import pytest

from occfusion_ros.ros.startup.dds import PROFILE_VARIABLES, use_shared_memory_profile


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in (*PROFILE_VARIABLES, "ROS_DISTRO"):
        monkeypatch.setenv(name, "")


@pytest.mark.parametrize(
    "distribution, variable",
    [
        ("", "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("humble", "FASTRTPS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_profile_is_set_in_the_variable_the_distribution_reads(monkeypatch, distribution, variable):
    monkeypatch.setenv("ROS_DISTRO", distribution)
    use_shared_memory_profile()
    (other,) = set(PROFILE_VARIABLES) - {variable}
    assert not os.environ[other]
    root = ET.parse(os.environ[variable]).getroot()
    kinds = {element.text for element in root.iter("{http://www.eprosima.com}type")}
    assert kinds == {"SHM", "UDPv4"}


@pytest.mark.parametrize("variable", PROFILE_VARIABLES)
def test_the_users_profile_stays(monkeypatch, variable):
    monkeypatch.setenv(variable, "/home/user/mine.xml")
    use_shared_memory_profile()
    (other,) = set(PROFILE_VARIABLES) - {variable}
    assert os.environ[variable] == "/home/user/mine.xml" and not os.environ[other]
