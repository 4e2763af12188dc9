"""A small bag, and labels of it that a model made which needs no training; a file may have others by these names."""

from pathlib import Path

import pytest
from helpers.labeling import label, null_arguments, tiny_bag


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    return tiny_bag(tmp_path_factory.mktemp("bags"))


@pytest.fixture(scope="module")
def arguments(tmp_path_factory) -> list[str]:
    """Of the command, but for bags and place."""
    return [*null_arguments(tmp_path_factory.mktemp("model")), "--slice-s", "0.12"]


@pytest.fixture(scope="module")
def labeled(bag, arguments, tmp_path_factory) -> dict[str, bytes]:
    """Labels of the bag in its folder."""
    return label(bag, tmp_path_factory.mktemp("labels") / "out", *arguments, "--workers", "0")
