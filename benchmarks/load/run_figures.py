"""Work out figures from what the harness saw."""

from bisect import bisect_left
from typing import Any

import numpy as np

from .harness import RING, Answer, Run
from .sensors import LIDAR, POSE

WARM_UP_S, TAIL_S = 2.0, 0.7  # not counted: engines warm up, and the last sweeps wait for images that never come
SLOPE_AFTER = 0.1  # of a soak: where memory is expected to have settled
PLOTTED = 400  # points of a curve
WHOLE = "newest input to answer"


def counted(run: Run) -> list[int]:
    """Stamps of the sweeps that count."""
    stamps = run.stamps[LIDAR]
    low, high = stamps[0] + WARM_UP_S * 1e9, stamps[-1] - TAIL_S * 1e9
    return [stamp for stamp in stamps if low <= stamp <= high]


def counted_answers(run: Run) -> list[Answer]:
    """The answers to the sweeps that count."""
    sweeps = set(counted(run))
    return [answer for answer in run.answers if answer.stamp_ns in sweeps]


def lost(run: Run) -> dict[str, int]:
    """Sweeps that count, those without an answer, and answers without all cameras."""
    sweeps, answers = counted(run), counted_answers(run)
    partial = sum(answer.cameras < run.sensors.cameras for answer in answers)
    return {"sweeps": len(sweeps), "unanswered": len(sweeps) - len(answers), "without a camera": partial}


def newest_input(run: Run, sweep_ns: int) -> int:
    """Stamp of the newest of a sweep and the images nearest to it."""
    nearest = [_nearest(run.stamps[camera], sweep_ns) for camera in RING[: run.sensors.cameras]]
    return max([sweep_ns, *nearest])


def latency_ms(run: Run) -> np.ndarray:
    """Milliseconds from the newest input's stamp to the arrival of each answer that counts."""
    return np.array([(answer.arrival_ns - newest_input(run, answer.stamp_ns)) / 1e6 for answer in counted_answers(run)])


def since_sweep_ms(run: Run) -> np.ndarray:
    """Milliseconds from each sweep's own stamp to the arrival of its answer."""
    return np.array([(answer.arrival_ns - answer.stamp_ns) / 1e6 for answer in counted_answers(run)])


def spread(values: Any) -> dict[str, float]:
    """Median, 99th percentile and largest; nothing of nothing."""
    if not len(values):
        return {}
    p50, p99 = np.percentile(values, (50, 99))
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1), "max": round(float(np.max(values)), 1)}


def latency_by_stage(run: Run) -> dict[str, dict[str, float]]:
    """From the newest input to the answer, and the stages as the node times them; the rest is pairing and transport."""
    whole, stages = spread(latency_ms(run)), {name: spread(ms) for name, ms in run.stage_ms.items()}
    if whole and "total" in stages:
        stages["pairing and transport"] = {"p50": round(whole["p50"] - stages["total"]["p50"], 1)}
    return {WHOLE: whole, **stages}


def rate(run: Run) -> dict[str, float]:
    """Answers a second: on average, in the best and worst of ten-second stretches; the longest gap in milliseconds."""
    arrivals = np.array([answer.arrival_ns for answer in counted_answers(run)]) / 1e9
    if len(arrivals) < 2:
        return {"mean_hz": 0.0}
    edges = np.arange(arrivals[0], arrivals[-1], 10.0)
    stretches = np.histogram(arrivals, edges)[0] / 10 if len(edges) > 1 else np.array([])
    gaps = np.diff(arrivals)
    return {
        "mean_hz": round(float((len(arrivals) - 1) / (arrivals[-1] - arrivals[0])), 2),
        **({"least_hz": float(stretches.min()), "most_hz": float(stretches.max())} if len(stretches) else {}),
        "gap_p99_ms": round(1e3 * float(np.percentile(gaps, 99)), 1),
        "longest_gap_ms": round(1e3 * float(gaps.max()), 1),
    }


def cpu_percent(run: Run) -> float:
    """Of one core, that the node's process used."""
    first, last = run.samples[0], run.samples[-1]
    return round(100 * (last.cpu_s - first.cpu_s) / max(last.time_s - first.time_s, 1e-9), 1)


def slope_per_hour(run: Run, name: str) -> float:
    """Growth of a figure of the samples by least squares, an hour, the first tenth of the time left out."""
    samples = run.samples[int(SLOPE_AFTER * len(run.samples)) :]
    if len(samples) < 3:
        return 0.0
    times = np.array([sample.time_s for sample in samples]) / 3600
    return round(float(np.polyfit(times - times[0], [getattr(sample, name) for sample in samples], 1)[0]), 2)


def growth(run: Run) -> dict[str, dict[str, float]]:
    """First (after a tenth of the time), last and largest value and slope of memory, threads and open files."""
    settled = run.samples[int(SLOPE_AFTER * len(run.samples)) :]
    return {
        name: {
            "first": round(getattr(settled[0], name), 1),
            "last": round(getattr(settled[-1], name), 1),
            "largest": round(max(getattr(s, name) for s in settled), 1),
            "per_hour": slope_per_hour(run, name),
        }
        for name in ("resident_mib", "anonymous_mib", "threads", "files")
    }


def diagnostics_jitter_ms(run: Run) -> dict[str, float]:
    """By how much the spacing of the node's diagnostics, one a second, was off."""
    arrivals_s = np.array([arrival for arrival, _ in run.reports]) / 1e9
    return spread(np.abs(np.diff(arrivals_s) - 1.0) * 1e3)


def verdicts(run: Run) -> dict[str, list[int]]:
    """How many of the node's diagnostics were good, warnings and errors while sweeps counted, by name."""
    sweeps, found = counted(run), {}
    for arrival, levels in run.reports:
        for name, level in levels.items() if sweeps and sweeps[0] <= arrival <= sweeps[-1] else ():
            found.setdefault(name, [0, 0, 0, 0])[level] += 1
    return {name: numbers[:3] for name, numbers in found.items()}


def curves(run: Run) -> dict[str, list[float]]:
    """Memory, and answers a second, over minutes, thinned out for a plot."""
    step = max(len(run.samples) // PLOTTED, 1)
    samples, start = run.samples[::step], run.samples[0].time_s
    arrivals = np.array([answer.arrival_ns for answer in counted_answers(run)]) / 1e9
    width = max(run.seconds / PLOTTED, 1.0)
    edges = np.arange(arrivals[0], arrivals[-1], width) if len(arrivals) > 1 else np.zeros(2)
    return {
        "minutes": [round((s.time_s - start) / 60, 3) for s in samples],
        "anonymous_mib": [round(s.anonymous_mib, 1) for s in samples],
        "resident_mib": [round(s.resident_mib, 1) for s in samples],
        "rate_minutes": [round(float(e - edges[0]) / 60, 3) for e in edges[:-1]],
        "rate_hz": [round(float(n) / width, 2) for n in np.histogram(arrivals, edges)[0]],
    }


def sent(run: Run) -> dict[str, int]:
    """Messages by sensor."""
    return {name: len(stamps) for name, stamps in run.stamps.items() if name != POSE}


def _nearest(stamps: list[int], stamp_ns: int) -> int:
    at = bisect_left(stamps, stamp_ns)
    return min(stamps[max(at - 1, 0) : at + 1], key=lambda stamp: abs(stamp - stamp_ns))
