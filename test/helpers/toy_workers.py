"""Workers for the runners: what each job's name says, it does."""

import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """`name`: what to do, and a number that makes it unique."""

    name: str


class Toy:
    """Remembers in a folder how often it was asked for a job, whatever process it lives in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, job: Job) -> dict:
        with open(self.folder / job.name, "a") as file:
            file.write("x")
        tries = (self.folder / job.name).stat().st_size
        what = job.name.partition("-")[0]
        if what == "raise" or (what == "once" and tries == 1):
            raise ValueError(f"{job.name} is bad")
        if what == "die" or (what == "killed" and tries == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "hang":
            time.sleep(600)
        if what == "wait":
            time.sleep(0.5)
        if what == "gpu":
            return {"name": job.name, "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}
        return {"name": job.name}


def unmade() -> None:
    """A worker that cannot be made."""
    raise ValueError("no such model")


def make(folder: Path) -> partial:
    """What makes a toy worker; it can be pickled."""
    return partial(Toy, folder)
