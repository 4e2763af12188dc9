"""Label recordings with the occupancy that the node would publish, or better: `label_bags BAGS... OUT`.

Takes bags of ROS 2 (MCAP or sqlite3, compressed or split; also by URL of fsspec, such as s3://bucket/drive.mcap) and
roots in the nuScenes format, with the node's parameters.
Writes to OUT, a folder or a URL (s3://bucket/path): occupancy/<token>.npz for each sweep (semantics, unknown space as
255, probabilities); samples/ and v1.0-labels/, which with these are a root in the nuScenes format; slices/, a file for
each part of a recording that is done, with a record of its sweeps; and summary.json. It may be ended at any moment:
started again, it goes on, and the files are the same in the end. What failed is listed, and tried again the next time.
"""

import json
import logging
import os
import sys
import tempfile
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..core.command import failed, number, parser_of
from ..core.errors import OccFusionError
from ..core.processor import usable_cores
from ..ros.node.parameters import NodeParameters, ParameterError
from ..ros.node.parameters_file import read_parameters_file
from ..ros.node.past_sweeps import hindrance
from ..runtime.artifact import find_artifact, load_artifact
from .bag_copies import BagCopies
from .labeler import Labeler, done, done_file, span
from .nuscenes_root import write_tables
from .plan import Settings, Slice, manifest, recordings, slices
from .runners import BEGIN_S, Outcome, Report, Share, in_process, on_ray, processes
from .store import Store

FORMATS = ("npz", "rows", "nuscenes", "mcap")
CACHE = Path(tempfile.gettempdir(), f"occfusion-bags-{os.getuid()}")
NODE = "/occfusion"  # whose section of a parameters file is read
MOST_S = 1_000_000  # eleven days, of every time; systems count waits in 31 bits of milliseconds
SECONDS, POSITIVE = number(float, 0, MOST_S), number(float, 0, MOST_S, above=True)
COUNT = number(int, 0)


def parser() -> ArgumentParser:
    """The command line."""
    it = parser_of("label_bags", __doc__)
    it.add_argument("recordings", nargs="+", metavar="BAG", help="bags, also by URL, or roots in the nuScenes format")
    it.add_argument("out", metavar="OUT", help="folder, or URL of fsspec, of the labels")
    it.add_argument("--params-file", type=Path, help="the node's parameters (default: those of nuScenes' rig)")
    it.add_argument(
        "-p",
        dest="values",
        action="append",
        default=[],
        metavar="NAME:=VALUE",
        help="another value of one of the node's parameters, such as memory:=short; may be given several times",
    )
    it.add_argument("--hindsight", action="store_true", help="later frames tell about earlier ones too; needs a memory")
    it.add_argument(
        "--formats",
        nargs="+",
        choices=FORMATS,
        default=["npz", "nuscenes"],
        help="rows: OpenOccupancy's files; mcap: the node's messages, for replay",
    )
    it.add_argument(
        "--every-s",
        type=SECONDS,
        default=0.0,
        metavar="SECONDS",
        help="label one sweep of so many seconds, the first, as if all were labeled: a memory is fed by all (0: all)",
    )
    it.add_argument(
        "--picture-every", type=COUNT, default=100, metavar="N", help="draw every N-th sweep; 0: none (%(default)s)"
    )
    it.add_argument(
        "--slice-s",
        type=number(float, 0.001, MOST_S),
        default=20.0,
        help="seconds of a bag that are one piece of work (%(default)s)",
    )
    it.add_argument(
        "--overlap-s", type=SECONDS, default=10.0, help="seconds beside it that fill a memory (%(default)s)"
    )
    it.add_argument(
        "--cache", type=Path, default=CACHE, metavar="DIR", help="where copies of bags by URL are kept (%(default)s)"
    )
    it.add_argument(
        "--cache-gb",
        type=number(float, 0, 1_000_000_000),
        default=50.0,
        help="above it copies that nobody uses are removed (%(default)s)",
    )
    it.add_argument("--workers", type=COUNT, help="processes (default: one for each two cores); 0: none but this one")
    it.add_argument("--ray", metavar="ADDRESS", help="run on a Ray cluster: auto, or its address; needs the extra ray")
    it.add_argument(
        "--gpus-per-worker",
        type=_gpus,
        metavar="GPUS",
        help="that each asks the cluster for, a part of one too (default: 1 for -p backend:=tensorrt, else 0)",
    )
    it.add_argument(
        "--wait-s",
        type=POSITIVE,
        default=BEGIN_S,
        help="in which a worker of the cluster has to begin (%(default)s)",
    )
    it.add_argument(
        "--threads", type=number(int, 0, 256), default=0, help="CPU threads of each worker (default: the cores, shared)"
    )
    it.add_argument("--timeout-s", type=POSITIVE, default=3600.0, help="a slice that takes longer failed (%(default)s)")
    return it


def _gpus(text: str) -> float:
    value = number(float, 0, 64)(text)
    if value > 1 and value % 1:
        raise ArgumentTypeError(f"expected whole GPUs, or a part of one, got {text!r}")
    return value


def settings_of(options: Namespace) -> Settings:
    """What labels depend on.

    Raises:
        ParameterError: parameters that are none, or do not fit together.
    """
    file = options.params_file
    parameters = read_parameters_file(file, NODE) if file else NodeParameters(fixed_frame="map")
    parameters = _absolute(replace(parameters, **dict(_value(text) for text in options.values)))
    if parameters.memory != "none" and not parameters.fixed_frame:
        raise ParameterError(
            "memory: there is none without fixed_frame; give -p fixed_frame:=odom, or how yours is called"
        )
    if options.hindsight and parameters.memory == "none":
        raise ParameterError("--hindsight needs a memory: -p memory:=short, or long")
    if options.gpus_per_worker is not None and not options.ray:
        raise ParameterError("--gpus-per-worker is for --ray: workers of one machine share what GPUs it has")
    if not parameters.fixed_frame and "nuscenes" in options.formats:
        raise ParameterError(
            "--formats nuscenes needs poses: -p fixed_frame:=odom, or how yours is called; or leave it out"
        )
    formats = tuple(sorted(options.formats))
    return Settings(parameters, options.hindsight, options.overlap_s, formats, options.picture_every, options.every_s)


def _absolute(parameters: NodeParameters) -> NodeParameters:
    """Files of parameters by absolute paths, because workers may stand elsewhere."""
    model, classes = parameters.model, parameters.classes_file
    return replace(
        parameters,
        model=str(find_artifact(model).absolute()) if "/" in model else model,
        classes_file=str(Path(classes).expanduser().absolute()) if classes else "",
    )


def _value(text: str) -> tuple[str, Any]:
    """Name and value of a parameter, written as ROS does."""
    import yaml

    name, colon, value = text.partition(":=")
    if not colon or name not in NodeParameters.__dataclass_fields__:
        raise ParameterError(f"-p: expected NAME:=VALUE with the name of one of the node's parameters, got {text!r}")
    loaded = yaml.safe_load(value)
    return name, tuple(loaded) if isinstance(loaded, list) else loaded


def plan(options: Namespace, settings: Settings, store: Store, model: bytes) -> tuple[list[Slice], dict[str, str]]:
    """The slices of all recordings, and by the name of one that cannot be read, why."""
    parts: list[Slice] = []
    unreadable: dict[str, str] = {}
    for recording in recordings(options.recordings):
        try:
            times = () if recording.scene else (span(recording, settings, _copies(options), store),)
            parts += slices(recording, settings, options.slice_s, model, *times)
        except OccFusionError as error:
            unreadable[recording.name] = str(error)
    return parts, unreadable


def _copies(options: Namespace) -> BagCopies:
    return BagCopies(options.cache.expanduser().absolute(), round(options.cache_gb * 1e9))


def outcomes(options: Namespace, settings: Settings, parts: list[Slice], report: Report) -> Iterable[Outcome]:
    """Run the slices where the options say; `report`: see `on_ray`."""
    cores = usable_cores()
    out = options.out if "://" in options.out else str(Path(options.out).absolute())  # workers may stand elsewhere
    if options.ray:
        threads, gpus = options.threads or 2, options.gpus_per_worker
        share = Share(threads, float(settings.parameters.backend == "tensorrt") if gpus is None else gpus)
        make, limits = partial(Labeler, settings, out, _copies(options), threads), (options.timeout_s, options.wait_s)
        return on_ray(make, parts, options.ray, share, *limits, report=report)
    workers = min(max(1, cores // 2) if options.workers is None else options.workers, len(parts))
    make = partial(Labeler, settings, out, _copies(options), options.threads or max(1, cores // max(1, workers)))
    return processes(make, parts, workers, options.timeout_s) if workers else in_process(make, parts)


def label(options: Namespace) -> int:
    """Label what is not labeled yet; returns the exit status: 1 where something failed."""
    from tqdm import tqdm

    settings, store = settings_of(options), Store(options.out)
    artifact = load_artifact(settings.parameters.model)
    if reason := hindrance(artifact.contract, settings.parameters):
        raise ParameterError(reason)
    model = (artifact.folder / "contract.yaml").read_bytes()
    parts, reasons = plan(options, settings, store, model)
    store.write("manifest.json", json.dumps(manifest(settings, model), indent=1).encode())
    results = {part.name: result for part in parts if (result := done(store, part))}
    missing = [part for part in parts if part.name not in results]
    print(f"{len(parts)} slices, {len(results)} of them done before", flush=True)
    start, sweeps = time.monotonic(), 0
    with tqdm(missing, unit="slice", disable=not missing) as bar:

        def describe(waiting: int, workers: int) -> None:
            bar.set_description_str(f"waiting for {waiting} of {workers} workers" if waiting else "")

        for outcome in outcomes(options, settings, missing, describe) if missing else ():
            bar.update()
            if outcome.result is None:
                reasons[outcome.job.name] = outcome.reason
                tqdm.write(f"{outcome.job.name}: {outcome.reason}", sys.stderr)
                continue
            results[outcome.job.name] = outcome.result
            sweeps += outcome.result["sweeps"]
            bar.set_postfix_str(f"{sweeps} sweeps, {sweeps / (time.monotonic() - start):.2f} a second")
    if "nuscenes" in settings.formats:
        write_tables(store, _records(store, [part for part in parts if part.name in results]))
    summary = summary_of(results, reasons)
    store.write("summary.json", json.dumps(summary, indent=1).encode())
    store.tidy()
    print(report(summary, options.out))
    return int(bool(reasons))


def _records(store: Store, parts: list[Slice]) -> Iterable[tuple[str, dict[str, Any]]]:
    for part in parts:
        for sweep in json.loads(store.read(done_file(part)) or b"{}").get("sweeps", ()):
            yield part.recording.name, sweep


def summary_of(results: dict[str, dict[str, Any]], reasons: dict[str, str]) -> dict[str, Any]:
    """Figures of all slices that are done, and what failed."""
    faults, voxels = Counter[str](), Counter[str]()
    for result in results.values():
        faults.update(result["faults"])
        voxels.update(result["voxels"])
    return {
        "slices": len(results),
        "sweeps": sum(result["sweeps"] for result in results.values()),
        "dropped": sum(result["dropped"] for result in results.values()),
        "faults": {name: count for name, count in sorted(faults.items()) if count},
        "voxels": dict(voxels),
        "failed": dict(sorted(reasons.items())),
    }


def report(summary: dict[str, Any], out: str) -> str:
    """The summary for people."""
    sweeps = max(1, summary["sweeps"])
    return "\n".join(
        [
            f"{summary['sweeps']} sweeps in {summary['slices']} slices labeled in {out}; "
            f"{summary['dropped']} sweeps gave no frame",
            *(f"  {count:9d}  {cause}" for cause, count in summary["faults"].items()),
            "voxels a sweep:",
            *(f"  {count / sweeps:9.0f}  {name}" for name, count in summary["voxels"].items() if count),
            *(f"FAILED {name}: {reason}" for name, reason in summary["failed"].items()),
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Command line entry point."""
    options = parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        return label(options)
    except (OccFusionError, OSError) as error:
        return failed(error)
    except KeyboardInterrupt:
        print("ended; started again, it goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
