"""Memory that a first forward pass of a network takes, measured in a fresh process.

`python -m benchmarks.performance.peak_memory NAME` prints JSON: MiB by part and in total, weights and inputs aside.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import torch

from occfusion_ros.core.command import parser_of

from ..ablation.variants import NETWORKS, VARIANTS
from .networks import MCONetParts, OccFusionParts

REPOSITORY = Path(__file__).resolve().parents[2]
MIB = 2**20
MCONET = "mconet"


def own_memory(field: str) -> int:
    """Bytes of this process by a field of /proc/self/status: VmRSS now, VmHWM at most since the last reset."""
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024


@torch.inference_mode()
def peaks(network: OccFusionParts | MCONetParts) -> dict[str, float]:
    """MiB by which each part raises the resident memory at its peak, and `total` over what was there at first."""
    first, result, most = own_memory("VmRSS"), {}, 0
    for part, call in network.calls().items():
        before = own_memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak, see proc(5); Linux only
        call()
        highest = own_memory("VmHWM")
        result[part], most = (highest - before) / MIB, max(most, highest)
    return {**result, "total": (most - first) / MIB}


def peak_memory(name: str, refined: int) -> dict[str, float]:
    """`peaks` of a network by name, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.performance.peak_memory", name, "--refined", str(refined)]
    # What is freed goes back to the system at once, so that resident memory is what is in use (glibc).
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    configs = {**NETWORKS, **{name: row.model for name, row in VARIANTS.items()}}
    parser = parser_of("python -m benchmarks.performance.peak_memory", __doc__)
    parser.add_argument("name", choices=[*configs, MCONET], help="a network, or a variant of the study")
    parser.add_argument("--refined", type=int, default=1024, help="coarse voxels that are refined (%(default)s)")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    if options.name == MCONET:
        network = MCONetParts(NETWORKS["base"].presample.image_size, options.refined)
    else:
        network = OccFusionParts(configs[options.name], options.refined)
    print(json.dumps(peaks(network)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
