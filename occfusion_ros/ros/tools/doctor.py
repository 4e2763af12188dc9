"""Looks a running system over (middleware, shared memory, sockets, processor, model, backends, node, topics,
transforms) and says what to do about what is wrong. The exit code is 1 when something fails."""

import sys
from collections.abc import Iterator

from ...core.command import parser_of
from ..startup.rclpy_start import StartError, check_middleware_installed, spinning_node
from .doctor_machine import (
    FAIL,
    Finding,
    check_backends,
    check_choice,
    check_middleware,
    check_model,
    check_processor,
    check_shared_memory,
    check_sockets,
)


def examine(name: str, timeout_s: float, argv: list[str]) -> Iterator[Finding]:
    """Everything that is found, one after the other.

    Args:
        name: of the node; a relative one is in the doctor's own namespace.
        timeout_s: seconds to wait for each thing that should be there.
        argv: arguments for ROS.
    """
    try:
        check_middleware_installed()
    except StartError as error:
        yield Finding(FAIL, "middleware", str(error), "unset RMW_IMPLEMENTATION")
        return
    yield from check_middleware()  # before this process gets a profile of its own
    yield check_shared_memory()
    yield check_sockets()
    yield from check_processor()
    try:
        yield from _examine_system(name, timeout_s, argv)
    except StartError as error:
        yield Finding(FAIL, "ROS", str(error), "correct ROS_DOMAIN_ID, ROS_LOG_DIR or the ROS_SECURITY variables")


def _examine_system(name: str, timeout_s: float, argv: list[str]) -> Iterator[Finding]:
    """The same for the running system."""
    from ..node.parameters import NodeParameters, ParameterError
    from .doctor_system import RunningSystem  # imports rclpy, which ends the process where its middleware is missing

    with spinning_node("doctor", argv) as node:
        full_name = name if name.startswith("/") else f"{node.get_namespace().rstrip('/')}/{name}"
        system = RunningSystem(node, full_name, timeout_s)
        parameters = None
        try:
            parameters = system.parameters()
            if parameters is None:
                yield Finding(
                    FAIL,
                    "parameters",
                    f"{full_name} does not tell its parameters: topics, transforms and diagnostics were not checked",
                    "try again, with a longer --timeout on a busy machine",
                )
        except ParameterError as error:
            yield Finding(FAIL, "parameters", str(error), f"ros2 param set {full_name} ...")
        found = system.check_node()
        yield check_model((parameters or NodeParameters()).model)
        yield from check_backends((parameters or NodeParameters()).backend)
        yield check_choice((parameters or NodeParameters()).model)
        yield found
        if parameters:
            yield from system.check_clock()
            yield from system.check_topics(parameters)
            yield from system.check_transforms(parameters)
            yield from system.check_diagnostics()


def main(argv: list[str] | None = None) -> int:
    """Command line entry point."""
    argv = sys.argv[1:] if argv is None else argv
    parser = parser_of("doctor", __doc__)
    parser.add_argument("--node", default="occfusion", help="name of the node (default: occfusion)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=3.0,
        metavar="S",
        help="seconds to wait for each thing that should be there (default: 3)",
    )
    own = argv[: argv.index("--ros-args")] if "--ros-args" in argv else argv  # rclpy itself may not be imported yet
    options = parser.parse_args(own)
    failed = 0
    for finding in examine(options.node, options.timeout, argv):
        print(f"[{finding.level:>4}] {finding.subject}: {finding.text}", flush=True)
        if finding.advice:
            print(f"       -> {finding.advice}", flush=True)
        failed += finding.level == FAIL
    print(f"{failed} things fail" if failed else "nothing fails", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
