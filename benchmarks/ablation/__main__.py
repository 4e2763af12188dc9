"""Train and measure every variant of the study, and write docs/results.md: `python -m benchmarks.ablation`.

Every variant is trained from scratch on the same frames, steps and thresholds; variants come before seeds, so a run
that is stopped leaves whole tables. What is finished is kept in OUT and not made again.
"""

import hashlib
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from models.training.augment import AugmentConfig
from models.training.config import TrainConfig
from models.training.data import PreparedFrame
from models.training.prepare import FRAMES_PER_DRIVE, prepare_all
from occfusion_ros.core.atomic import write_json
from occfusion_ros.core.command import parser_of
from occfusion_ros.core.errors import OccFusionError
from occfusion_ros.network.checkpoint import load_checkpoint
from occfusion_ros.network.occfusion import ModelConfig
from synthetic.seeds import VALIDATION

from ..machine import processor, versions
from ..performance import cost
from ..performance.peak_memory import peak_memory
from .accuracy import measure
from .frames import window_frames
from .page import RESULTS, write_page
from .reasons import reasons
from .training import train, train_config
from .variants import EVERY_MODE, NETWORK, REFERENCE, SHIPPED, STANDARD, TRAIN, VARIANTS, WEIGHTS, Variant

COSTED = (REFERENCE, "lift_splat", "lidar", "camera", "theta2", "theta8")


class StudyError(OccFusionError):
    """The study cannot go on."""


@dataclass(frozen=True)
class Budget:
    """What every variant gets.

    Attributes:
        steps: optimizer steps. train, fit, test: synthetic drives to train on, to fit thresholds on, to measure on.
        repeats: forward passes of which the median time is taken.
    """

    steps: int = 360
    train: int = 40
    fit: int = 2
    test: int = 4
    repeats: int = cost.REPEATS

    def seeds(self) -> dict[str, range]:
        """Seeds of the drives by use."""
        first = {"train": TRAIN.first_seed, "fit": VALIDATION.start, "test": VALIDATION.start + self.fit}
        return {use: range(seed, seed + getattr(self, use)) for use, seed in first.items()}


QUICK = Budget(steps=2, train=1, fit=1, test=1, repeats=1)


@dataclass(frozen=True)
class Frames:
    """Cut frames by use."""

    train: list[Path]
    fit: list[Path]
    test: list[Path]


def kept(path: Path, settings: dict[str, Any], make: Callable[[], Any]) -> Any:
    """The result at `path` if it was made with the same settings (JSON values), else what `make` gives."""
    settings = json.loads(json.dumps(settings))
    if path.exists():
        saved = json.loads(path.read_text())
        if saved["settings"] == settings:
            return saved["result"]
    result = make()
    write_json(path, {"settings": settings, "result": result})
    return result


def train_and_measure(
    variant: Variant, config: TrainConfig, frames: Frames, path: Path, settings: dict[str, Any]
) -> Any:
    """Accuracy of a variant by refinement; weights beside `path` that were trained alike are measured as they are."""
    folder = path.with_suffix("")
    weights = folder / "weights.safetensors"
    if not (weights.exists() and path.exists() and alike(json.loads(path.read_text())["settings"], settings)):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        train(variant, config, frames.train, folder)
    fit, test = ([PreparedFrame.load(frame) for frame in paths] for paths in (frames.fit, frames.test))
    return {"modes": measure(load_checkpoint(weights)[0], fit, test, variant.modes)}


def alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two settings (JSON values) differ in how is measured at most."""
    return {**one, "modes": None} == {**json.loads(json.dumps(other)), "modes": None}


def run_variants(
    names: list[str], seeds: int, budget: Budget, frames: Frames, out: Path, minutes: float
) -> dict[str, dict[str, Any]]:
    """Results by variant and seed; begins no variant after so many minutes."""
    results: dict[str, dict[str, Any]] = {name: {} for name in names}
    jobs = [(seed, name) for seed in range(seeds) for name in names]
    end = time.monotonic() + 60 * minutes
    bar = tqdm(jobs, "variants", unit="variant")
    for seed, name in bar:
        variant, path = VARIANTS[name], out / "variants" / f"{name}-{seed}.json"
        bar.set_postfix_str(f"{name}, seed {seed}")
        config = train_config(variant, seed, budget.steps, budget.train)
        settings = {
            "model": asdict(variant.model),
            "train": asdict(config),
            "modes": variant.modes,
            "budget": asdict(replace(budget, repeats=0)),
        }
        if time.monotonic() > end and not path.exists():
            continue
        make = partial(train_and_measure, variant, config, frames, path, settings)
        try:
            results[name][str(seed)] = kept(path, settings, make)
        except Exception:  # one variant must not cost the others their results
            traceback.print_exc()
            tqdm.write(f"{name}, seed {seed}: failed, left out", sys.stderr)
    return {name: by_seed for name, by_seed in results.items() if by_seed}


def measure_costs(names: list[str], refined: int, budget: Budget, out: Path) -> dict[str, Any]:
    """Costs of the variants that differ in cost, each beside the reference."""
    torch.set_num_threads(TRAIN.threads)
    reference, costs = cost.Forward(VARIANTS[REFERENCE].model, refined), {}
    for name in tqdm([name for name in COSTED if name in names], "costs", unit="variant"):
        config = VARIANTS[name].model

        def make(name: str = name, config: ModelConfig = config) -> dict[str, Any]:
            return {
                "gmacs": cost.count(config, refined),
                "memory": peak_memory(name, refined),
                "seconds": cost.compare_times(reference, cost.Forward(config, refined), budget.repeats),
            }

        settings = {"model": asdict(config), "refined": refined, "repeats": budget.repeats}
        costs[name] = kept(out / "costs" / f"{name}.json", settings, make)
    return costs


def measure_refinement(config: ModelConfig, modes: dict[str, Any], budget: Budget) -> dict[str, Any]:
    """Cost of the refiner by mode, from the mean number of voxels that it refined."""
    counts = {mode: round(figures["refined"]) for mode, figures in modes.items()}
    for_one = cost.count(config, 1)["refiner"]
    times = cost.refiner_times(config, counts.values(), budget.repeats)
    return {
        mode: {"refined": count, "gmacs": count * for_one, "seconds": times[count]} for mode, count in counts.items()
    }


def averages(by_seed: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Mean over the seeds of every figure of every refinement."""
    runs = [result["modes"] for result in by_seed.values()]
    return {mode: {key: sum(run[mode][key] for run in runs) / len(runs) for key in runs[0][mode]} for mode in runs[0]}


def measure_shipped(validation: Path, budget: Budget, out: Path, workers: int) -> dict[str, Any]:
    """The shipped network on the whole held-out frames, in the form of a variant."""
    model, metadata = load_checkpoint(WEIGHTS)

    def make() -> dict[str, Any]:
        fit, test = (
            [
                PreparedFrame.load(path)
                for path in prepare_all(validation, budget.seeds()[use], NETWORK.presample, workers, weights=WEIGHTS)
            ]
            for use in ("fit", "test")
        )
        modes = measure(model, fit, test, EVERY_MODE)
        return {"modes": modes, "costs": measure_refinement(model.config, modes, budget)}

    digest = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    found = kept(out / "shipped.json", {"weights": digest, "budget": asdict(budget), "modes": EVERY_MODE}, make)
    return {
        "variant": {
            "title": f"{metadata['model_id']}: {metadata['trained_on']}",
            "seeds": {"0": {"modes": found["modes"]}},
        },
        "costs": found["costs"],
    }


def study(names: list[str], seeds: int, budget: Budget, frames: Frames, out: Path, minutes: float) -> dict[str, Any]:
    """Everything that the page shows."""
    variants = run_variants(names, seeds, budget, frames, out, minutes)
    if REFERENCE not in variants:
        raise StudyError(f"the {REFERENCE} variant failed: without it there is nothing to compare with")
    modes = {name: averages(by_seed) for name, by_seed in variants.items()}
    return {
        "budget": asdict(budget),
        "drives": {use: [seeds.start, seeds.stop - 1] for use, seeds in budget.seeds().items()},
        "frames_per_drive": FRAMES_PER_DRIVE,
        "train": json.loads(json.dumps(asdict(TRAIN))),
        "machine": processor(),
        "threads": TRAIN.threads,
        "load": round(os.getloadavg()[0], 1),
        "versions": versions("torch", "numpy"),
        "variants": {name: {"title": VARIANTS[name].title, "seeds": by_seed} for name, by_seed in variants.items()},
        "costs": measure_costs(names, round(modes[REFERENCE][STANDARD]["refined"]), budget, out),
        "refinement": {
            name: measure_refinement(VARIANTS[name].model, figures, budget)
            for name, figures in modes.items()
            if set(EVERY_MODE) <= set(figures)
        },
    }


def measure_reasons(seeds: int, frames: Frames, validation: Path, budget: Budget, out: Path, workers: int) -> Any:
    """What `reasons` finds with as many of the trained references as there are."""
    trained = [out / "variants" / f"{REFERENCE}-{seed}" / "weights.safetensors" for seed in range(seeds)]
    trained = [path for path in trained if path.exists()]
    if not trained:
        raise StudyError(f"{out}: expected the weights of {REFERENCE} beside its results; remove its .json to train it")

    def make() -> dict[str, Any]:
        test = prepare_all(validation, budget.seeds()["test"], NETWORK.presample, workers, weights=WEIGHTS)
        return reasons(frames.train, test, trained)

    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (WEIGHTS, *trained)]
    return kept(out / "reasons.json", {"weights": digests, "budget": asdict(replace(budget, repeats=0))}, make)


def prepare(budget: Budget, frames: Path, validation: Path, out: Path, workers: int) -> Frames:
    """The frames of the study."""
    folders = {"train": (frames, AugmentConfig()), "fit": (validation, None), "test": (validation, None)}
    return Frames(
        **{
            use: window_frames(folder, out / "window" / use, budget.seeds()[use], workers, augmentation)
            for use, (folder, augmentation) in folders.items()
        }
    )


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m benchmarks.ablation", __doc__)
    parser.add_argument("--out", type=Path, default=Path("out/study"), help="folder for all that is kept (%(default)s)")
    parser.add_argument("--page", type=Path, default=RESULTS, help="page to write (%(default)s), with its .json beside")
    parser.add_argument("--frames", type=Path, help="prepared training frames, filled where needed (OUT/frames)")
    parser.add_argument("--validation", type=Path, help="prepared held-out frames, likewise (OUT/validation)")
    parser.add_argument("--shipped", action="store_true", help="measure the refinement of the shipped swift besides")
    parser.add_argument("--seeds", type=int, default=3, help="repetitions of every variant (%(default)s)")
    parser.add_argument("--steps", type=int, default=Budget.steps, help="optimizer steps of a variant (%(default)s)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no variant after so many minutes")
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=VARIANTS,
        default=list(VARIANTS),
        metavar="VARIANT",
        help=f"only these, besides the reference: {', '.join(VARIANTS)}",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that prepare frames (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="two steps on one drive: to try the program, not to prove")
    parser.add_argument("--render", action="store_true", help="only write the page again from its .json")
    options = parser.parse_args(argv)
    results = options.page.with_suffix(".json")
    if options.seeds < 1 or options.steps < 1:
        parser.error(f"seeds and steps must be at least 1, got {options.seeds} and {options.steps}")
    try:
        if not options.render:
            budget = QUICK if options.quick else replace(Budget(), steps=options.steps)
            frames = prepare(
                budget,
                options.frames or options.out / "frames",
                options.validation or options.out / "validation",
                options.out,
                options.workers,
            )
            names = [name for name in VARIANTS if name == REFERENCE or name in options.variants]
            found = study(names, options.seeds, budget, frames, options.out, options.minutes)
            held_out = options.validation or options.out / "validation", budget, options.out, options.workers
            found["reasons"] = measure_reasons(options.seeds, frames, *held_out)
            if options.shipped:
                shipped = measure_shipped(*held_out)
                found["variants"][SHIPPED], found["refinement"][SHIPPED] = shipped["variant"], shipped["costs"]
            results.parent.mkdir(parents=True, exist_ok=True)
            write_json(results, found)
        write_page(json.loads(results.read_text()), options.page)
    except (OccFusionError, OSError, json.JSONDecodeError) as error:
        parser.exit(2, f"study: {error}\n")
    print(f"page: {options.page}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
