"""Build TensorRT engines of an artifact: `ros2 run occfusion_ros build_engines ARTIFACT`.

Builds what the robot would build at its first start, into the same cache, with progress and a report. With
--capability the engines are built for other GPUs by TensorRT-RTX, which needs none here, and only their sizes are
kept: that tells whether the graphs build.
"""

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from occfusion_ros.core.atomic import write_json
from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.errors import BackendError
from occfusion_ros.runtime.artifact import NETWORKS, Artifact, load_artifact
from occfusion_ros.runtime.backends import tensorrt_backend
from occfusion_ros.runtime.backends.protocol import BackendSettings

CAPABILITIES = ("SM80", "SM86", "SM89", "SM120")


@dataclass(frozen=True)
class Built:
    """One engine: which file for which GPU, seconds that it took and its size in MB."""

    file: str
    gpu: str
    seconds: float
    size_mb: float


def build_for(artifact: Artifact, capabilities: list[str], precisions: list[str]) -> list[Built]:
    """Build every engine of an artifact for other GPUs with TensorRT-RTX.

    Raises:
        BackendError: TensorRT-RTX is not installed, or a graph does not build.
    """
    trt = tensorrt_backend.flavor(("tensorrt_rtx",))
    if trt is None:
        raise BackendError("TensorRT-RTX is not installed: pip install tensorrt-rtx-cu13")
    limits, built = tensorrt_backend.axis_limits(artifact), []
    jobs = [
        (engine, precision, capability)
        for engine in NETWORKS
        for precision in precisions
        for capability in capabilities
        if precision in artifact.network(engine).files
    ]
    for engine, precision, capability in tqdm(jobs, "building", unit="engine"):
        spec, start = artifact.network(engine), time.perf_counter()
        file = spec.files[precision]
        content = tensorrt_backend.build_engine(
            trt, artifact.read(file), file.name, spec, limits, capability=capability
        )
        built.append(Built(file.name, capability, round(time.perf_counter() - start, 2), round(len(content) / 1e6, 1)))
    return built


def build_here(artifact: Artifact, settings: BackendSettings) -> list[Built]:
    """Build the engines of this machine's GPU into the robot's cache, and load them."""
    if reason := tensorrt_backend.unavailable_reason():
        raise BackendError(reason)
    built = []
    for engine in tqdm(NETWORKS, "building", unit="engine"):
        start = time.perf_counter()
        backend = tensorrt_backend.load(artifact, engine, settings)
        built.append(Built(backend.file, backend.name, round(time.perf_counter() - start, 2), backend.size / 1e6))
    return built


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("build_engines", __doc__)
    parser.add_argument("artifact", help="folder of an exported model, or name of a shipped one")
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=tensorrt_backend.VARIANTS,
        help="only these (default: the best one, or all with --capability)",
    )
    parser.add_argument("--capability", nargs="+", choices=CAPABILITIES, help="try to build for these GPUs instead")
    parser.add_argument("--cache", type=Path, help="folder of the engines (default: as the node's)")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with one_sentence(parser, "build_engines"):
        artifact = load_artifact(options.artifact)
        if options.capability:
            built = build_for(artifact, options.capability, options.precision or list(tensorrt_backend.VARIANTS))
        else:
            places = {"cache": options.cache} if options.cache else {}
            built = [
                one
                for precision in options.precision or ["auto"]
                for one in build_here(artifact, BackendSettings(precision=precision, **places))
            ]
        for one in built:
            print(f"{one.file:22s} {one.gpu:30s} {one.seconds:7.1f} s {one.size_mb:7.1f} MB")
        if options.json:
            write_json(options.json, [asdict(one) for one in built])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
