"""Bags in S3 are labeled into S3, with moto's server in place of Amazon's; left out where it is not installed."""

import json
import os
from pathlib import Path

import pytest
from helpers.labeling import files

from occfusion_ros.core.errors import OccFusionError
from occfusion_ros.labels.__main__ import main
from occfusion_ros.labels.bag_copies import BagCopies

s3fs = pytest.importorskip("s3fs", reason="pip install s3fs 'moto[server]'")
moto = pytest.importorskip("moto.server", reason="pip install s3fs 'moto[server]'")


@pytest.fixture(scope="module")
def server():
    """Found by the environment, as of whoever uses another server than Amazon's; so worker processes find it too."""
    it = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    it.start()
    host, port = it.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1])]))
        s3fs.S3FileSystem.clear_instance_cache()
        yield
        s3fs.S3FileSystem.clear_instance_cache()
    it.stop()


@pytest.fixture
def bucket(server, request):
    """File system and name of a bucket of the test's own."""
    store, name = s3fs.S3FileSystem(), f"bucket-{abs(hash(request.node.name))}"
    store.mkdir(name)
    return store, name


def content(store, place: str) -> dict[str, bytes]:
    """Files below a place by name, but for the times of bags by URL."""
    store.invalidate_cache()
    found = {path.removeprefix(f"{place}/"): store.cat_file(path) for path in store.find(place)}
    return {name: each for name, each in found.items() if not name.startswith("spans/")}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("runner", [["--workers", "0"], ["--workers", "2"], ["--ray", "local", "--threads", "1"]])
def test_a_bag_in_a_bucket_gives_the_same_bytes_in_a_bucket(
    bucket, bag, arguments, labeled, runner, whole, tmp_path, capsys
):
    if "--ray" in runner:
        pytest.importorskip("ray", reason="pip install 'occfusion_ros[ray]'")
    store, name = bucket
    (mcap,) = bag.glob("*.mcap")
    if whole:
        store.put(str(bag), f"{name}/drives/{bag.name}", recursive=True)
    else:
        store.put_file(str(mcap), f"{name}/drives/{bag.name}.mcap")
    url = f"s3://{name}/drives/{bag.name}{'' if whole else '.mcap'}"
    words = [*arguments, *runner, "--picture-every", "0", "--cache", str(tmp_path / "cache")]
    assert main([url, f"s3://{name}/labels", *words]) == 0
    assert content(store, f"{name}/labels") == labeled
    capsys.readouterr()
    assert main([url, f"s3://{name}/labels", *words]) == 0
    slices = json.loads(labeled["summary.json"])["slices"]
    assert f"{slices} slices, {slices} of them done before" in capsys.readouterr().out


def test_a_bag_that_was_changed_in_its_bucket_is_copied_again(bucket, bag, tmp_path):
    store, name = bucket
    store.put(str(bag), f"{name}/{bag.name}", recursive=True)
    (mcap,), copies = bag.glob("*.mcap"), BagCopies(tmp_path / "cache", 10**9)
    for data in (mcap.read_bytes(), mcap.read_bytes()[::-1]):
        store.pipe_file(f"{name}/{bag.name}/{mcap.name}", data)
        for _ in range(2):
            with copies.opened(f"s3://{name}/{bag.name}") as path:
                assert files(path) == {**files(bag), mcap.name: data}
    assert len(list(copies.folder.glob(f"*/{bag.name}"))) == 2


@pytest.mark.parametrize("url", ["s3://{}/nothing.mcap", "s3://{}/nothing", "s3://no-such-bucket/drive.mcap"])
def test_what_is_not_there_is_said(bucket, tmp_path, url):
    with pytest.raises(OccFusionError, match="there is no such bag: s3://"):
        with BagCopies(tmp_path / "cache", 10**9).opened(url.format(bucket[1])):
            pass
