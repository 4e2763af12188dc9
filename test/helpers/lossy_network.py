"""Two network namespaces of this machine, joined by a line that delays and loses packets. Needs root, `ip` and TUN."""

import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time

TUN_SETUP, TUN_PLAIN = 0x400454CA, 0x0001 | 0x1000  # TUNSETIFF; IFF_TUN, IFF_NO_PI
PACKET_BYTES = 9000


def unavailable_reason() -> str:
    """Why there can be no such network here; empty where there can."""
    if os.geteuid():
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "the command ip is missing"
    if not os.path.exists("/dev/net/tun"):
        return "/dev/net/tun is missing"
    name = f"occ{os.getpid()}probe"
    try:
        _ip("netns", "add", name)
        _ip("netns", "del", name)
    except subprocess.CalledProcessError as error:
        return f"no network namespace can be made: {error.stderr.strip()}"
    return ""


class LossyNetwork:
    """The namespaces `names`, with addresses 10.77.0.1 and 10.77.0.2.

    Attributes:
        delay_s: seconds that each packet takes, in either direction.
        loss: share of the packets that get lost.
        lost: packets that got lost.
    """

    def __init__(self, delay_s: float, loss: float) -> None:
        self.delay_s, self.loss, self.lost = delay_s, loss, 0
        self.names = [f"occ{os.getpid()}{end}" for end in "ab"]
        self._chance, self._closed = random.Random(0), False
        self._ends = [_namespace(name, f"10.77.0.{number}") for number, name in enumerate(self.names, 1)]
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()

    def command(self, end: int, *words: str) -> list[str]:
        """A command to run in one of the namespaces."""
        return ["ip", "netns", "exec", self.names[end], *words]

    def close(self) -> None:
        """Take all down."""
        self._closed = True
        self._thread.join()
        for end, name in zip(self._ends, self.names):
            os.close(end)
            _ip("netns", "del", name)

    def _forward(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []  # when, number, to, packet
        number = 0
        while not self._closed:
            pause = min(max(waiting[0][0] - time.monotonic(), 0), 0.1) if waiting else 0.1
            for end in select.select(self._ends, [], [], pause)[0]:
                packet, number = os.read(end, 1 << 16), number + 1
                if self._chance.random() < self.loss:
                    self.lost += 1
                else:
                    to = 1 - self._ends.index(end)
                    heapq.heappush(waiting, (time.monotonic() + self.delay_s, number, to, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, to, packet = heapq.heappop(waiting)
                os.write(self._ends[to], packet)


def _namespace(name: str, address: str) -> int:
    """Make a namespace whose only way out is a TUN device; returns the device's other end."""
    end = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(end, TUN_SETUP, struct.pack("16sH", name.encode(), TUN_PLAIN))
    _ip("netns", "add", name)
    _ip("link", "set", name, "netns", name)
    _ip("-n", name, "address", "add", f"{address}/24", "dev", name)
    _ip("-n", name, "link", "set", "lo", "up")
    _ip("-n", name, "link", "set", name, "mtu", str(PACKET_BYTES), "up")
    _ip("-n", name, "route", "add", "224.0.0.0/4", "dev", name)
    return end


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
