"""Shipped files are found installed or in the checkout."""

import pytest

from occfusion_ros.core.shipped import shipped


@pytest.mark.parametrize("prefix", ["", "/nowhere"])
def test_shipped_files_are_found_in_a_checkout_that_is_not_installed(monkeypatch, prefix):
    monkeypatch.setenv("AMENT_PREFIX_PATH", prefix)
    assert shipped("models/nano", "models").is_dir()
    with pytest.raises(FileNotFoundError, match="config/none.yaml ships with occfusion_ros, but it is not at /"):
        shipped("config/none.yaml")


def test_an_installed_file_is_preferred(monkeypatch, tmp_path):
    (tmp_path / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (tmp_path / "share/ament_index/resource_index/packages/occfusion_ros").touch()
    installed = tmp_path / "share/occfusion_ros/config/fastdds_shm.xml"
    installed.parent.mkdir(parents=True)
    installed.touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    assert shipped("config/fastdds_shm.xml") == installed
