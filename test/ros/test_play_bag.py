"""The bag player, against subscribers in this process."""

import itertools
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import rclpy
from helpers.tiny_nuscenes import SCENE, TinyRoot
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.ros.startup.dds import use_shared_memory_profile
from occfusion_ros.ros.tools.nuscenes_to_bag import convert_scene
from occfusion_ros.ros.without_ros import bag_player, play_bag
from occfusion_ros.ros.without_ros.bag_reader import open_bag

TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    """MCAP, 0.14 s: 2 sweeps, 4 images."""
    folder = tmp_path_factory.mktemp("bags")
    convert_scene(NuScenesReader(TinyRoot(folder / "root").root), SCENE, folder)
    return folder / SCENE


@pytest.fixture
def sqlite_bag(bag, tmp_path) -> Path:
    """The same messages in sqlite3."""
    with Reader(bag) as reader, Writer(tmp_path / "sqlite", version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        copies = {
            c.id: writer.add_connection(
                c.topic,
                c.msgtype,
                msgdef=c.msgdef.data,
                rihs01=c.digest,
                offered_qos_profiles=c.ext.offered_qos_profiles,
            )
            for c in reader.connections
        }
        for connection, stamp, data in reader.messages():
            writer.write(copies[connection.id], stamp, bytes(data))
    return tmp_path / "sqlite"


@pytest.fixture
def node():
    use_shared_memory_profile()
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("listener", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


class Listener:
    """Collects what arrives on topics, in a thread of its own, and wakes whoever waits for it."""

    def __init__(self, node, topics: dict[str, type]) -> None:
        self.received = []  # (topic, message: bytes, or a Clock)
        self._changed = threading.Condition()
        for topic, kind in topics.items():
            latched = DurabilityPolicy.TRANSIENT_LOCAL if topic == "/tf_static" else DurabilityPolicy.VOLATILE
            node.create_subscription(
                kind,
                topic,
                lambda message, topic=topic: self._note(topic, message),
                QoSProfile(depth=1000, durability=latched),
                raw=kind is not Clock,
            )
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def on(self, topic: str) -> list:
        return [message for name, message in list(self.received) if name == topic]

    def wait_for(self, condition) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, TIMEOUT_S), f"got {[name for name, _ in self.received]}"

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(TIMEOUT_S)

    def _note(self, topic: str, message) -> None:
        with self._changed:
            self.received.append((topic, message))
            self._changed.notify_all()


@pytest.fixture
def listen(node):
    listeners = []

    def start(topics: dict[str, type]) -> Listener:
        listeners.append(Listener(node, topics))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


def _recorded(path: Path) -> dict[str, list[bytes]]:
    messages = {}
    with Reader(path) as reader:
        for connection, _, data in reader.messages():
            messages.setdefault(connection.topic, []).append(bytes(data))
    return messages


def _types(path: Path) -> dict[str, type]:
    with Reader(path) as reader:
        return {c.topic: bag_player._message_type(c.msgtype) for c in reader.connections}


def _ns(clock: Clock) -> int:
    return clock.clock.sec * 10**9 + clock.clock.nanosec


@pytest.mark.parametrize("storage", ["bag", "sqlite_bag"])
def test_every_message_arrives_in_order_with_the_clock(storage, request, listen, capsys):
    path = request.getfixturevalue(storage)
    expected, topics = _recorded(path), _types(path)
    listener = listen({**topics, "/clock": Clock})
    assert play_bag.main([str(path), "--clock", "200", "--wait-for", *topics]) == 0
    listener.wait_for(lambda: len(listener.received) - len(listener.on("/clock")) == sum(map(len, expected.values())))
    for topic, messages in expected.items():
        assert [bytes(m) for m in listener.on(topic)] == messages, topic
    with Reader(path) as reader:
        start, end = reader.start_time, reader.end_time - 1
    listener.wait_for(lambda: end in map(_ns, listener.on("/clock")))
    ticks = [_ns(clock) for clock in listener.on("/clock")]
    assert ticks == sorted(ticks) and start <= ticks[0] and ticks[-1] == end
    assert f"played {sum(map(len, expected.values()))} messages" in capsys.readouterr().out


def test_latched_topics_reach_subscribers_that_come_late(bag, node, listen):
    with Reader(bag) as reader:
        bag_player.BagPlayer(node, reader, ["/tf_static"]).play()
        listener = listen({"/tf_static": TFMessage})
        listener.wait_for(lambda: listener.on("/tf_static"))
    assert [bytes(m) for m in listener.on("/tf_static")] == _recorded(bag)["/tf_static"]


def test_they_reach_those_too_that_come_after_the_end_where_it_stays(bag, listen):
    with subprocess.Popen(
        [sys.executable, "-m", "occfusion_ros.ros.without_ros.play_bag", str(bag), "--stay"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as player:
        try:
            assert player.stdout.readline().startswith("played ")
            listener = listen({"/tf_static": TFMessage, "/lidar_top": PointCloud2})
            listener.wait_for(lambda: listener.on("/tf_static"))
            assert player.poll() is None and not listener.on("/lidar_top")
            player.send_signal(signal.SIGINT)
            out, err = player.communicate(timeout=TIMEOUT_S)
        finally:
            player.kill()
    assert player.returncode == 0, err
    assert err.splitlines() == ["staying for whoever comes late, with /tf_static", "play_bag: interrupted"]


def test_it_does_not_stay_with_nothing_to_offer(bag, capsys):
    assert play_bag.main([str(bag), "--topics", "/lidar_top", "--stay"]) == 0
    assert "played 2 messages" in capsys.readouterr().out


def test_only_chosen_topics_are_played(bag, node):
    with Reader(bag) as reader:
        assert bag_player.BagPlayer(node, reader, ["/lidar_top", "/cam_front/camera_info"]).play() == 4
        with pytest.raises(DatasetError, match=r"no topic \['/radar'\] in .*'/lidar_top'"):
            bag_player.BagPlayer(node, reader, ["/radar"])


def test_types_not_installed_are_skipped_and_named(tmp_path, node, caplog):
    store = get_typestore(Stores.ROS2_KILTED)
    store.register(get_types_from_msg("uint8 x", "nowhere_msgs/msg/Thing"))
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        thing = writer.add_connection("/thing", "nowhere_msgs/msg/Thing", typestore=store)
        text = writer.add_connection("/text", "std_msgs/msg/String", typestore=store)
        writer.write(thing, 1, store.serialize_cdr(store.types["nowhere_msgs/msg/Thing"](3), "nowhere_msgs/msg/Thing"))
        writer.write(text, 2, store.serialize_cdr(store.types["std_msgs/msg/String"]("hi"), "std_msgs/msg/String"))
    with Reader(tmp_path / "bag") as reader:
        assert bag_player.BagPlayer(node, reader).play() == 1
        assert "skipping /thing: nowhere_msgs/msg/Thing is not installed" in caplog.text
        with pytest.raises(DatasetError, match="nothing to play"):
            bag_player.BagPlayer(node, reader, ["/thing"])


class FakeTime:
    """A clock that moves only when slept on or when `cost_ns` of work is done."""

    def __init__(self) -> None:
        self.ns = 0

    def monotonic_ns(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


class FakePublisher:
    """Notes when it was used; each use takes 3 ms."""

    def __init__(self, fake: FakeTime, times: list[int]) -> None:
        self._fake, self._times = fake, times

    def publish(self, message) -> None:
        self._times.append(self._fake.ns)
        self._fake.ns += 3_000_000


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_pace_follows_the_stamps_without_drift(bag, monkeypatch, rate):
    fake, times = FakeTime(), []
    monkeypatch.setattr(bag_player, "time", fake)

    class Node:
        def create_publisher(self, *arguments):
            return FakePublisher(fake, times)

    with Reader(bag) as reader:
        stamps = [stamp for _, stamp, _ in reader.messages()]
        bag_player.BagPlayer(Node(), reader, rate=rate).play()
    assert fake.ns < 1e9
    due = [(stamp - stamps[0]) / rate for stamp in stamps]
    assert len(times) == len(stamps)
    for previous, got, want in zip([-3_000_000, *times], times, due):
        assert abs(got - max(want, previous + 3_000_000)) <= 1000, "on time, or as soon as the one before was out"


@pytest.mark.parametrize("rate", [0.1, 1.0, 4.0])
def test_a_round_of_a_loop_lasts_so_long_that_a_jump_is_noticed(bag, monkeypatch, rate):
    fake, ticks = FakeTime(), []
    monkeypatch.setattr(bag_player, "time", fake)

    class Publisher:
        def publish(self, message):
            if isinstance(message, Clock):
                ticks.append(_ns(message))

    class Node:
        def create_publisher(self, *arguments):
            return Publisher()

    with Reader(bag) as reader:
        bag_player.BagPlayer(Node(), reader, clock_hz=100, rate=rate).play(least_s=1.0)
        length_s = (reader.end_time - 1 - reader.start_time) / 1e9
    assert fake.ns / 1e9 == pytest.approx(max(1.0, length_s / rate), abs=0.02)
    assert (ticks[-1] - ticks[0]) / 1e9 == pytest.approx(max(rate, length_s), abs=0.02 * rate), "time goes on meanwhile"
    assert ticks == sorted(ticks)


def test_a_loop_leaves_the_answer_to_a_moment_in_view(bag, monkeypatch):
    fake, answer_s = FakeTime(), 2.0  # of two busy cores
    monkeypatch.setattr(bag_player, "time", fake)

    class Node:
        def create_publisher(self, *arguments):
            return FakePublisher(fake, [])

    with Reader(bag) as reader:
        bag_player.BagPlayer(Node(), reader).play(play_bag.LEAST_ROUND_S)
    assert fake.ns / 1e9 > 2 * answer_s, "else it is out of view for longer than it is in it"


def test_subscribers_that_acknowledge_nothing_do_not_hold_it_up_topic_by_topic(bag, monkeypatch):
    fake = FakeTime()
    monkeypatch.setattr(bag_player, "time", fake)

    class Publisher:
        def wait_for_all_acked(self, timeout) -> bool:
            fake.ns += timeout.nanoseconds
            return False

    class Node:
        def create_publisher(self, *arguments):
            return Publisher()

    with Reader(bag) as reader:
        bag_player.BagPlayer(Node(), reader).wait_for_acknowledgement()
        assert len({connection.topic for connection in reader.connections}) > 4
    assert bag_player.ACKNOWLEDGE_S <= fake.ns / 1e9 < 1.2 * bag_player.ACKNOWLEDGE_S


@pytest.mark.parametrize("zero", ["/tf_static", "/lidar_top"])
def test_gaps_of_years_are_skipped_and_named(bag, tmp_path, monkeypatch, caplog, zero):
    fake, times, sent = FakeTime(), [], []
    monkeypatch.setattr(bag_player, "time", fake)

    class Publisher(FakePublisher):
        def publish(self, message) -> None:
            super().publish(message)
            if isinstance(message, Clock):
                sent.append(_ns(message))

    class Node:
        def create_publisher(self, *arguments):
            return Publisher(fake, times)

    with Reader(bag) as reader, Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        copies = {
            c.id: writer.add_connection(c.topic, c.msgtype, msgdef=c.msgdef.data, rihs01=c.digest)
            for c in reader.connections
        }
        for connection, stamp, data in reader.messages():
            writer.write(copies[connection.id], 0 if connection.topic == zero else stamp, bytes(data))
        count = reader.message_count
    with open_bag(tmp_path / "bag") as reader:
        assert bag_player.BagPlayer(Node(), reader, clock_hz=100.0).play() == count
    assert fake.ns < 10**9 and sent == sorted(sent), "no waiting, and a clock that only goes forward"
    assert "skipping a gap of" in caplog.text and "years in the stamps (is a topic stamped zero?)" in caplog.text


def test_clock_leaves_out_ticks_that_are_late(monkeypatch):
    sent = []

    class Node:
        def create_publisher(self, *arguments):
            return self

        def publish(self, message):
            sent.append(_ns(message))

    clock = bag_player.Clock(Node(), period_ns=10)
    for now in (0, 10, 95, 96, 100):
        clock.tick(now)
    assert sent == [0, 10, 20, 85, 95]


def test_waiting_for_a_subscriber_ends(bag, capsys):
    assert play_bag.main([str(bag), "--wait-for", "/lidar_top", "/tf", "--wait-timeout", "0.05"]) == 1
    assert (
        "gave up after 0.05 s of waiting for a subscriber of /lidar_top and a subscriber of /tf"
        in capsys.readouterr().err
    )


def test_bags_that_cannot_be_read_are_named(bag, tmp_path, capsys):
    assert play_bag.main([str(tmp_path / "none")]) == 2
    assert f"cannot read the bag {tmp_path / 'none'}" in capsys.readouterr().err
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes((bag / f"{SCENE}.mcap").read_bytes()[:500])
    assert play_bag.main([str(damaged)]) == 2
    assert "cannot read the bag" in capsys.readouterr().err
    for rate in ("0", "-1", "nan", "inf", "fast"):
        with pytest.raises(SystemExit):
            play_bag.main([str(bag), "--rate", rate])
        assert f"argument --rate: expected a number above 0, got '{rate}'" in capsys.readouterr().err


def test_loop_goes_back_in_time_until_it_is_stopped(bag, listen):
    listener = listen({"/clock": Clock})

    def jumped_back() -> bool:
        return any(a > b for a, b in itertools.pairwise(map(_ns, listener.on("/clock"))))

    with subprocess.Popen(
        [sys.executable, "-m", "occfusion_ros.ros.without_ros.play_bag", str(bag), "--loop"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as player:
        try:
            listener.wait_for(jumped_back)
            player.send_signal(signal.SIGTERM)
            out, err = player.communicate(timeout=TIMEOUT_S)
        finally:
            player.kill()
    assert (player.returncode, err) == (0, "play_bag: interrupted\n"), out
