"""The node: sensor messages in, semantic occupancy out, under the control of a lifecycle."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields
from functools import partial
from pathlib import Path

from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.exceptions import NameValidationException
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter

from ...core.errors import OccFusionError, one_line
from ..health.diagnostics import ERROR, OK, WARN, Diagnostics, TaskStatus
from ..health.statistics import Statistics
from .active_node import ActiveNode
from .camera_masks import read_masks
from .classes_file import read_classes
from .component_health import memory_health
from .declared_parameters import declare_parameters, read_parameters, unknown_parameters
from .frame_memory import prepare_memory
from .meanwhile import served
from .parameters import NodeParameters, ParameterError, check_values
from .ros_logging import RosLogHandler
from .watchdog import FramePipeline, WatchedPipeline, load_other_backend, warm_up_frame

NAME = "occfusion"
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class Ended(Exception):
    """The node was asked to end."""


class OccFusionNode(LifecycleNodeMixin, Node):
    """Checks parameters and model when it is configured, computes while it is active, and frees the device after that.

    Attributes:
        statistics: what happened to the frames so far.
        failure: why the last transition failed or the node stopped; empty when all is well.
    """

    def __init__(self, pipeline: FramePipeline | None = None, **node_arguments) -> None:
        """
        Args:
            pipeline: what computes occupancy; None loads the model that the parameters name.
            node_arguments: passed on to `rclpy.node.Node`.
        """
        self.statistics, self.failure = Statistics(), ""
        self._load = (lambda _: pipeline) if pipeline else load_pipeline
        self._settings: NodeParameters | None = None  # while configured
        self._pipeline: WatchedPipeline | None = None  # while loaded
        self._perception: ActiveNode | None = None  # while active
        self._closing = ExitStack()
        self._loading_since_s: float | None = None  # while a transition waits for the model
        Node.__init__(self, NAME, **node_arguments)
        # Their own group: while one of these services loads a model, the others and the diagnostics answer.
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self._forward_logging()
        declare_parameters(self)
        self._unknown = ", ".join(unknown_parameters(self))
        if self._unknown:
            self.get_logger().warning(f"there are no such parameters: {self._unknown}")
        self._stop_request = self.create_guard_condition(self._stop)
        self._end_request = self.create_guard_condition(self._end)
        Diagnostics(self, self._tasks)
        self.add_on_set_parameters_callback(self._on_set_parameters)

    @property
    def build_only(self) -> bool:
        """Whether the node was only started to have its engines built."""
        return self.get_parameter("build_only").value

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return self.get_parameter("autostart").value

    def start(self) -> bool:
        """Configure and activate; whether that worked is returned, why it did not is logged."""
        return self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS

    def end(self) -> None:
        """From any thread: have whoever serves the node leave what he waits for and get `Ended`."""
        with suppress(RuntimeError):  # of rclpy, where the node was destroyed already
            self._end_request.trigger()

    def destroy_node(self) -> None:
        """Finish the frame in work and let go of everything."""
        self._deactivate()
        self._closing.close()
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()  # rclpy forgets it, and it keeps the node's shared memory

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters, load the model and try it."""
        return self._attempt(self._configure, "cannot be configured")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model again where it was freed, warm it up, and start."""
        return self._attempt(self._activate, "cannot be activated")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free the device."""
        self._deactivate()
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the configuration; all parameters may change again."""
        self._deactivate()
        self._settings = None
        return SUCCESS

    on_shutdown = on_cleanup

    def _attempt(self, change: Callable[[], None], failure: str) -> TransitionCallbackReturn:
        """Make a change; where that fails, say why and stay as before."""
        self.failure = ""
        try:
            change()
        except Ended:
            self._deactivate()
            self.end()  # again, for whoever serves the node otherwise
            return FAILURE
        except (OccFusionError, NameValidationException) as error:
            self.failure = f"{failure}: {one_line(error)}"
        except Exception as error:  # noqa: BLE001 - the node must stay usable
            if not self.context.ok():
                raise
            logging.getLogger(__name__).exception("unexpected error")
            self.failure = f"{failure}: internal error: {error}"
        if self.failure:
            self.get_logger().error(self.failure)
            self._deactivate()
        return FAILURE if self.failure else SUCCESS

    def _configure(self) -> None:
        settings = read_parameters(self)
        self._masks = read_masks(settings)
        with self._waiting() as meanwhile:
            self._pipeline = self._load_guarded(settings, meanwhile)
        contract = self._pipeline.contract
        self._relabeling = read_classes(settings.classes_file, contract.classes)
        if len(settings.cameras) > contract.max_cameras:
            raise ParameterError(
                f"cameras: model {contract.model_id} takes at most {contract.max_cameras}, got {list(settings.cameras)}"
            )
        if settings.doubt is not None and not contract.says_confidence:
            raise ParameterError(
                f"unknown: expected a model that says how sure it is, got {contract.model_id}, whose contract is of an "
                "earlier format: export it again, or take occluded"
            )
        self._settings = settings

    def _activate(self) -> None:
        settings = self._settings
        with self._waiting() as meanwhile:
            self._pipeline = self._pipeline or self._load_guarded(settings, meanwhile)
            self._pipeline(warm_up_frame(len(settings.cameras)), settings.load_timeout_s, meanwhile)
        load_other = partial(load_other_backend, self._load, settings)
        self._perception = ActiveNode(
            self,
            settings,
            self._pipeline,
            self.statistics,
            load_other,
            self._request_stop,
            self._masks,
            self._relabeling,
        )
        self.get_logger().info(
            f"ready: model {self._pipeline.contract.model_id} on {self._pipeline.backend_name}, "
            f"waiting for {', '.join(map(self.resolve_topic_name, settings.clouds))}"
        )

    def _load_guarded(self, settings: NodeParameters, meanwhile: Callable[[], None]) -> WatchedPipeline:
        def load() -> FramePipeline:
            prepare_memory(settings)
            return self._load(settings)

        return WatchedPipeline(load, settings.load_timeout_s, meanwhile)

    @contextmanager
    def _waiting(self) -> Iterator[Callable[[], None]]:
        """For what takes minutes: gives what serves the other callbacks meanwhile."""
        self._loading_since_s = time.monotonic()
        try:
            with served(self) as meanwhile:
                yield meanwhile
        finally:
            self._loading_since_s = None

    def _deactivate(self) -> None:
        if self._perception:
            self._perception.close()
        if self._pipeline:
            self._pipeline.close()
        self._perception = self._pipeline = None

    def _request_stop(self, reason: str) -> None:
        """From any thread: become inactive."""
        self.failure = f"stopped: {reason}; to try again: ros2 lifecycle set {self.get_fully_qualified_name()} activate"
        self.get_logger().error(self.failure)
        self._stop_request.trigger()

    def _stop(self) -> None:
        if self._perception and self._perception.stopped:
            self.trigger_deactivate()

    def _end(self) -> None:
        raise Ended

    def _tasks(self) -> dict[str, Callable[[], TaskStatus]]:
        """What there is to report in the present state."""
        return {"state": self._state, **(self._perception.tasks if self._perception else {}), "memory": memory_health}

    def _state(self) -> TaskStatus:
        if self._loading_since_s is not None:
            elapsed = f"{time.monotonic() - self._loading_since_s:.0f} s"
            label = "activating" if self._settings else "configuring"
            message = f"{label}: loading the model, building its engines where there are none yet, {elapsed}"
            return TaskStatus(WARN, message, {"state": label, "loading for": elapsed})
        label = "active" if self._perception else "inactive" if self._settings else "unconfigured"
        if self.failure:
            return TaskStatus(ERROR, self.failure, {"state": label})
        if self._unknown:
            return TaskStatus(WARN, f"{label}; there are no such parameters: {self._unknown}", {"state": label})
        return TaskStatus(OK if label == "active" else WARN, label, {"state": label})

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """All changes or none."""
        known = {field.name for field in fields(NodeParameters)}
        values = {change.name: change.value for change in changes if change.name in known}
        try:
            if self._loading_since_s is not None and values:
                raise ParameterError(f"{', '.join(values)}: may change again once the model is loaded")
            if not self._settings:
                check_values(values)
                return SetParametersResult(successful=True)
            self._settings = self._settings.changed(values)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._perception:
            self._perception.change(self._settings)
        return SetParametersResult(successful=True)

    def _forward_logging(self) -> None:
        package_logger = logging.getLogger(__package__.partition(".")[0])
        handler = RosLogHandler(self.get_logger())
        package_logger.setLevel(logging.DEBUG)  # what is shown is for the ROS logger to decide
        package_logger.addHandler(handler)
        self._closing.callback(package_logger.removeHandler, handler)


def load_pipeline(parameters: NodeParameters) -> FramePipeline:
    from ...runtime.backends.protocol import BackendSettings
    from ...runtime.pipeline import Pipeline

    settings = BackendSettings(parameters.threads, parameters.precision, Path(parameters.engine_cache).expanduser())
    return Pipeline.load(parameters.model, parameters.backend, parameters.refine, settings)
