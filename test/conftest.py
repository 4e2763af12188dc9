"""What every test may use: a ROS domain of its own and the real recordings, where they are at hand."""

import fcntl
import gc
import os
import signal
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LONG_FILES = (  # in this order: the first exports the small model, for which others would have to wait
    "test_demo_real.py",
    "test_labels.py",
    "test_parity.py",
    "test_packaging.py",
    "test_train.py",
    "test_node_process.py",
    "test_ablation.py",
    "test_doctor.py",
    "test_lenses.py",
    "test_thinning.py",
    "test_pictures.py",
    "test_adapt.py",
    "test_labeling.py",
    "test_performance.py",
)

# Threads of OpenMP that wait for each other would keep cores busy that others need: with two test processes on two
# cores, networks in PyTorch take several times as long. libgomp reads this when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A shell starts background jobs with SIGINT ignored, and the programs that tests interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _claim_domain() -> tuple[int, object]:
    """A ROS domain that no other test process on this machine uses, held until this process ends."""
    for domain in range(1, 102):  # the ids that are free of ephemeral ports on every system
        lock = open(Path(tempfile.gettempdir()) / f"occfusion_ros_test_domain_{domain}", "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return domain, lock
        except OSError:
            lock.close()
    raise RuntimeError("all ROS domains from 1 to 101 are taken by other test runs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that workers that share the files end together."""
    places = {name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="module", autouse=True)
def old_objects_stay():
    """Spares the garbage collector all that was there before a file's tests: a node collects whenever it is closed."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def ros_domain():
    """ROS_DOMAIN_ID of this test process and of the processes it starts; they reach nothing outside this machine."""
    domain, lock = _claim_domain()
    patch = pytest.MonkeyPatch()
    patch.setenv("ROS_DOMAIN_ID", str(domain))
    patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    yield domain
    patch.undo()
    lock.close()


@pytest.fixture(autouse=True)
def same_domain(ros_domain):
    """A test must not leave its process in another domain, where another process's nodes may hear the next ones."""
    yield
    left = os.environ.get("ROS_DOMAIN_ID")
    os.environ["ROS_DOMAIN_ID"] = str(ros_domain)
    assert left == str(ros_domain), f"ROS_DOMAIN_ID was {ros_domain} before the test and is {left} after it"


@pytest.fixture(scope="session")
def nuscenes_sample() -> Path:
    """Folder of the real recordings: $OCCFUSION_DATA, else shared/data/nuscenes-sample beside the checkout."""
    folder = Path(os.environ.get("OCCFUSION_DATA") or REPOSITORY.parent / "shared/data/nuscenes-sample")
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder}; set OCCFUSION_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def small_artifact(tmp_path_factory) -> Path:
    """Artifact folder of a small untrained network (`small_model.CONFIG`), exported and compared like a real one."""
    from helpers.small_model import save_small_checkpoint

    from export.to_onnx import export

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # one for all workers: theirs lie beside each other
        folder = folder.parent
    artifact, partial = folder / "small", folder / "small.partial"
    with open(folder / "small.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not artifact.exists():
            export(save_small_checkpoint(folder / "small.safetensors"), partial, data=None, frames=1)
            partial.rename(artifact)
    return artifact
