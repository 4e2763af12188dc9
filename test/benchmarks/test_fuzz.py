"""Malformed messages in short; `make fuzz` sends many more of them."""

import json

import pytest

from benchmarks.fuzz import __main__ as fuzz
from benchmarks.fuzz.node import fuzz_node
from occfusion_ros.ros.conversions.point_cloud import points_from_cloud


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_every_malformed_message_is_taken_or_refused_on_purpose(kind):
    found = fuzz.fuzz_chunk(kind, seed=1, count=200)
    assert found.failures == [] and sum(found.causes.values()) == 200
    assert 0 < found.causes["taken"] < 200 and len(found.causes) > 3


def test_equal_seeds_give_equal_messages():
    assert fuzz.MalformedMessages(7).cloud() == fuzz.MalformedMessages(7).cloud() != fuzz.MalformedMessages(8).cloud()


def test_what_must_not_happen_is_found(monkeypatch):
    def careless(malformed):
        points_from_cloud(malformed.cloud(), "255")

    monkeypatch.setitem(fuzz.KINDS, "PointCloud2", careless)
    found = fuzz.fuzz_chunk("PointCloud2", seed=1, count=20)
    assert found.failures and "PointCloud2, seed 1, message 1: TypeError" in found.failures[0]


@pytest.mark.sensors
def test_the_running_node_answers_what_is_good_and_accounts_for_the_rest():
    found = fuzz_node(60, seed=1)
    assert found["failures"] == [] and found["malformed"] >= 50 and found["published"] > 0
    assert len(found["faults"]) > 2


def test_the_report_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fuzz, "CHUNK", 20)
    node = {"malformed": 7, "failures": ["it fell"]}
    monkeypatch.setattr("benchmarks.fuzz.node.fuzz_node", lambda count, seed: node)
    assert fuzz.main(["--messages", "100", "--node-messages", "7", "--out", str(tmp_path / "fuzz.json")]) == 1
    result = json.loads((tmp_path / "fuzz.json").read_text())
    assert set(result["conversions"]) == set(fuzz.KINDS) and result["node"]["malformed"] == 7 and result["machine"]
    assert "1 failures" in capsys.readouterr().out
