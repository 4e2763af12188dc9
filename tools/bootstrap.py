"""Set up what is missing to run without ROS: a virtual environment in the checkout with ROS 2 from pip wheels, the
compiled messages and this package. A step is done again only when its inputs have changed; after an interruption the
set-up carries on where it stopped. What pip and CMake say goes to a log file, of which a failure shows the end. Only
the standard library is used."""

import configparser
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin/python"
STAMPS = VENV / "set-up"
LOG = CHECKOUT / "out/set-up.log"
LAST_LINES = 15  # of a command that failed are shown
TICK_S = 1.0
# Python compiles what it imports; of all that is installed, which pip would compile, that is a small part.
PIP_INSTALL = ("-m", "pip", "install", "--disable-pip-version-check", "--no-compile")
OLDEST, NEWEST = (3, 10), (3, 13)  # for which ROS 2 wheels exist

# The devkit asks for NumPy below 2, but works with it: it is installed by itself, and here is what it imports.
NUSCENES = ["nuscenes-devkit"]
NUSCENES_IMPORTS = ["cachetools", "pyquaternion", "scikit-learn"]

# What is found under share/occfusion_ros, and where it lies in the checkout.
SHARED = {name: name for name in ("package.xml", "LICENSE", "NOTICE", "launch", "config", "rviz")}
SHARED["models"] = "models/zoo"


class SetupError(Exception):
    """Something the user has to mend; the message says how."""


class CommandError(SetupError):
    """A command that failed; `output` is all that it said."""

    def __init__(self, words, output):
        self.output = output
        last = "\n".join(f"    {line}" for line in output.splitlines()[-LAST_LINES:])
        super().__init__(f"this command failed: {' '.join(words)}\n{last}\nAll of its output is in {LOG}")


def run(*command, **options):
    """Run a command whose output goes to the log file.

    Raises:
        CommandError: it failed or is not there.
    """
    words = [str(word) for word in command]
    with open(LOG, "a+b") as log:
        log.write(f"\n$ {' '.join(words)}\n".encode())
        log.flush()
        begin = log.seek(0, os.SEEK_END)
        try:
            failed = subprocess.call(words, cwd=CHECKOUT, stdout=log, stderr=subprocess.STDOUT, **options)
        except OSError as error:
            raise CommandError(words, str(error)) from error
        log.seek(begin)
        output = log.read().decode(errors="replace")
    if failed:
        raise CommandError(words, output)


@contextmanager
def line_of(what):
    """One line for a step, with the time it took; on a terminal the seconds count up meanwhile."""
    start, done = time.monotonic(), threading.Event()

    def count():
        while not done.wait(TICK_S):
            print(f"\r{what} ... {time.monotonic() - start:.0f} s", end="", flush=True)

    print(f"{what} ...", end="", flush=True)
    counter = threading.Thread(target=count, daemon=True)
    if sys.stdout.isatty():
        counter.start()
    end = "failed"
    try:
        yield
        end = "done"
    finally:
        done.set()
        if counter.is_alive():
            counter.join()
        begin = f"\r{what} ..." if sys.stdout.isatty() else ""
        print(f"{begin} {end}, {time.monotonic() - start:.0f} s", flush=True)


def pip(*arguments):
    run(PYTHON, *PIP_INSTALL, "-c", "constraints.txt", *arguments)


def pinned(package):
    """Version of a package that constraints.txt fixes for every Python."""
    return re.search(rf"^{package}==([^;\s]+)$", (CHECKOUT / "constraints.txt").read_text(), re.MULTILINE)[1]


def site_packages():
    return next(VENV.glob("lib/python3*/site-packages"))


def make_environment():
    usable = PYTHON.exists() and not subprocess.call(
        [PYTHON, "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    if not usable:
        try:
            run(sys.executable, "-m", "venv", "--clear", VENV)
        except CommandError as error:
            raise SetupError(
                f"no virtual environment could be made; on Debian and Ubuntu: sudo apt install python3-venv\n{error}"
            ) from error
    # The wheels leave this variable to the user; ament, launch and CMake find packages through it.
    setting = 'import os, sys; os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)\n'
    (site_packages() / "aa_ament_prefix.pth").write_text(setting)
    pip("pip", "setuptools")


def has_gpu():
    return bool(shutil.which("nvidia-smi")) and not subprocess.call(
        ["nvidia-smi", "-L"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def install_torch():
    """Take the CPU build where there is no NVIDIA GPU; what this leaves undone comes with the libraries."""
    if has_gpu():
        return ""
    try:
        run(PYTHON, *PIP_INSTALL, "--no-deps", f"torch=={pinned('torch')}+cpu")
    except CommandError as error:
        if not re.search("No matching distribution|ResolutionImpossible", error.output):  # with constraints
            raise
        return (
            "The package indexes in use have no CPU build of torch: the general build follows, with gigabytes of\n"
            "GPU libraries. To avoid that, stop here and name PyTorch's index of CPU wheels in "
            "PIP_EXTRA_INDEX_URL."
        )
    return ""


def install_libraries():
    tools = [tool for tool in ("cmake", "ninja") if not shutil.which(tool)]
    pip("--use-pep517", "--no-build-isolation", "-e", ".[ros,openvino,pictures,train,test]", *NUSCENES_IMPORTS, *tools)
    pip("--no-deps", *NUSCENES)


def install_tensorrt_rtx():
    """For tests that build engines; under NVIDIA's own license, and not needed for anything else."""
    try:
        pip("tensorrt-rtx-cu13")
    except CommandError:
        return f"TensorRT-RTX could not be installed (see {LOG}); the tests that build engines with it are skipped."
    return ""


def install_viewers():
    """Rerun and Foxglove, which nothing else needs: 250 MB to fetch."""
    try:
        pip("foxglove-sdk", "rerun-sdk")
    except CommandError:
        return f"Rerun and Foxglove could not be installed (see {LOG}); what needs them says so, or is skipped."
    return ""


def compile_tf2_msgs():
    if not any(site_packages().glob("ros_tf2_msgs-*.dist-info")):  # some later wheel
        compile_interfaces("tools/tf2_msgs")


def compile_occfusion_msgs():
    compile_interfaces("occfusion_msgs")


def compile_interfaces(folder):
    """Compile an interface package and install it into the virtual environment."""
    build = STAMPS / "build" / Path(folder).name
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "AMENT_PREFIX_PATH": str(VENV), "PATH": path}
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_PREFIX_PATH": VENV,
        "CMAKE_INSTALL_PREFIX": VENV,
        "Python3_EXECUTABLE": PYTHON,
        "Python3_ROOT_DIR": VENV,
    }
    definitions = [f"-D{name}={value}" for name, value in options.items()]
    run("cmake", "-G", "Ninja", "--log-level=WARNING", "-S", folder, "-B", build, *definitions, env=environment)
    run("cmake", "--build", build, env=environment)
    run("cmake", "--install", build, env=environment)
    shutil.rmtree(build)


def install_package():
    """Install this package so that every change in the checkout counts at once."""
    pip("--use-pep517", "--no-build-isolation", "--no-deps", "-e", ".")
    metadata = next(site_packages().glob("occfusion_ros-*.dist-info"))
    entry_points = configparser.ConfigParser()
    entry_points.read(metadata / "entry_points.txt")
    shutil.rmtree(VENV / "lib/occfusion_ros", ignore_errors=True)  # commands of another version
    for name in entry_points["console_scripts"]:  # where launch and `ros2 run` look for them
        link(f"lib/occfusion_ros/{name}", VENV / "bin" / name)
    for script in CHECKOUT.glob("scripts/*"):
        place = VENV / "lib/occfusion_ros" / script.name
        place.write_text(f"#!{PYTHON}\n{script.read_text().partition(chr(10))[2]}")
        place.chmod(0o755)
    # An editable install leaves out the files beside the code; setup.py says where they belong.
    link("share/ament_index/resource_index/packages/occfusion_ros", CHECKOUT / "resource/occfusion_ros")
    for name, source in SHARED.items():
        link(f"share/occfusion_ros/{name}", CHECKOUT / source)


def link(place, target):
    """Make a relative symbolic link at a place in the virtual environment."""
    path = VENV / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(os.path.relpath(target, path.parent))


# Title, what is done (it may return a note for the user), and the files and folders it depends on.
VIEWERS = ("Rerun and Foxglove", install_viewers, ["constraints.txt"])
MORE = {
    "tests": [("TensorRT-RTX", install_tensorrt_rtx, ["constraints.txt"]), VIEWERS],
    "view": [VIEWERS],
}  # by argument
STEPS = [
    ("virtual environment", make_environment, ["constraints.txt"]),
    ("torch", install_torch, ["constraints.txt"]),
    ("ROS 2 and libraries", install_libraries, ["constraints.txt", "setup.py"]),
    ("tf2_msgs", compile_tf2_msgs, ["constraints.txt", "tools/tf2_msgs", "occfusion_msgs/cmake"]),
    ("occfusion_msgs", compile_occfusion_msgs, ["constraints.txt", "occfusion_msgs"]),
    ("occfusion_ros", install_package, ["pyproject.toml", "setup.py", "setup.cfg", "scripts"]),
]


def fingerprint(inputs):
    """What a step depends on: its inputs, this file, and where the checkout lies, which installed scripts contain."""
    digest = hashlib.sha256(str(CHECKOUT).encode() + Path(__file__).read_bytes())
    for root in (CHECKOUT / name for name in inputs):
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and path.suffix != ".pyc":
                digest.update(str(path.relative_to(CHECKOUT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def stamp_of(title):
    return STAMPS / title.replace(" ", "_")


def missing_steps():
    """Indices of the steps that were never done, or with other inputs."""

    def done(title, inputs):
        stamp = stamp_of(title)
        return stamp.exists() and stamp.read_text() == fingerprint(inputs)

    return [index for index, (title, _, inputs) in enumerate(STEPS) if not done(title, inputs)]


def check_requirements():
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise SetupError(
            "Python %d.%d to %d.%d is needed, and this is %d.%d; name another one: make PYTHON=python3.12"
            % (*OLDEST, *NEWEST, *sys.version_info[:2])
        )
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise SetupError(
            "a C++ compiler is needed to compile the messages; on Debian and Ubuntu: sudo apt install build-essential"
        )
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        raise SetupError(
            "Python's headers are needed to compile the messages; on Debian and Ubuntu: sudo apt install python3-dev"
        )


def set_up():
    check_requirements()
    if os.environ.get("ROS_DISTRO"):
        print(
            f"ROS 2 {os.environ['ROS_DISTRO']} is sourced. This set-up leaves it alone and makes an environment\n"
            "of its own in .venv; to run with your ROS 2, build with colcon as the README says."
        )
    LOG.parent.mkdir(exist_ok=True)
    LOG.write_bytes(b"")
    start = time.monotonic()
    for index in missing_steps():
        title, action, inputs = STEPS[index]
        key = fingerprint(inputs)
        with line_of(f"Set-up {index + 1}/{len(STEPS)}: {title}"):
            note = action()
        if note:
            print(note, flush=True)
        STAMPS.mkdir(exist_ok=True)
        stamp_of(title).write_text(key)
    print(f"Set-up finished in {time.monotonic() - start:.0f} s", flush=True)


def main():
    for argument in sys.argv[1:]:
        STEPS.extend(MORE[argument])
    if not missing_steps():
        return 0
    with open(__file__) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another set-up is at work in this checkout; waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if missing_steps():
                set_up()
        except (SetupError, OSError) as error:
            print(
                f"\nThe set-up stopped: {error}\nRun it again when that is mended; it carries on from here.",
                file=sys.stderr,
            )
            return 1
        except KeyboardInterrupt:
            print("\nThe set-up was interrupted; run it again to carry on.", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
