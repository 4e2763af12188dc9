"""The node's parameters: one dataclass from which they are declared, checked and documented.

What training fixed (grid, classes, image size) is not here but in the model's contract.
"""

from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from ...core.past_sweeps import MOST_SWEEPS
from ...core.returns import MIN_RANGE
from .parameter_values import ParameterError, band_of, bands_of, check_value, costs_of, extents_of, text_of

NUSCENES_CAMERAS = ("cam_front_left", "cam_front", "cam_front_right", "cam_back_left", "cam_back", "cam_back_right")

ANY_TIME, UNCONFIGURED, NEVER = "any time", "unconfigured", "never"
"""When a parameter may change: while the node runs, only while it is not configured, or not after it was started."""


def _parameter(
    default: Any,
    description: str,
    *,
    limits: tuple | None = None,
    choices: tuple[str, ...] = (),
    changes: str = UNCONFIGURED,
) -> Any:
    """A field with what its ROS descriptor needs."""
    return field(
        default=default, metadata={"description": description, "limits": limits, "choices": choices, "changes": changes}
    )


RELIABILITIES = ("auto", "reliable", "best_effort")
_RELIABILITY = "QoS of the sweeps: reliable, best_effort, or auto: reliable, but best effort where no more is offered"


@dataclass(frozen=True)
class NodeParameters:
    """Values of all parameters; their meaning is in the metadata of the fields."""

    model: str = _parameter("nano", "model artifact: a folder (./mine), or the name of a shipped model")
    backend: str = _parameter(
        "auto",
        "inference backend: tensorrt, openvino, onnxruntime, torch, or auto: the fastest "
        "that runs here, and the next where it fails",
    )
    precision: str = _parameter(
        "auto",
        "what engines calculate in: fp32, bf16, fp16, int8, or auto: what the backend does best",
        choices=("auto", "fp32", "bf16", "fp16", "int8"),
    )
    engine_cache: str = _parameter(
        "~/.cache/occfusion_ros",
        "folder for the engines that TensorRT builds at the first start; nobody else may write to it",
    )
    build_only: bool = _parameter(False, "load the model, building its engines where needed, and end", changes=NEVER)
    autostart: bool = _parameter(
        True,
        "configure and activate at the start, and end if that fails; false: wait for a "
        "lifecycle manager, or ros2 lifecycle set",
        changes=NEVER,
    )
    refine: str = _parameter(
        "active",
        "coarse voxels refined to the fine grid: active (the most uncertain), all (every occupied one) or none",
    )
    threads: int = _parameter(0, "CPU threads for inference, 0 for all cores", limits=(0, 256))

    on_backend_failure: str = _parameter(
        "fall_back",
        "when the backend fails or hangs: fall_back (once, to the next one that runs; then stop), or stop "
        "(the node becomes inactive)",
        choices=("fall_back", "stop"),
        changes=ANY_TIME,
    )
    backend_timeout_s: float = _parameter(
        10.0,
        "seconds after which a backend that gives no answer counts as hanging",
        limits=(0.1, 3600.0),
        changes=ANY_TIME,
    )
    load_timeout_s: float = _parameter(
        1800.0,
        "seconds after which loading a model, building its engines included, or its first frame counts as hanging",
        limits=(0.1, 86400.0),
        changes=ANY_TIME,
    )
    latency_budget_ms: float = _parameter(
        500.0,
        "milliseconds from a sweep's arrival to its answer; a 99th percentile above it is a warning",
        limits=(1.0, 1e6),
        changes=ANY_TIME,
    )
    min_output_rate_hz: float = _parameter(
        0.0,
        "answers a second below which there is a warning; 0: none, whatever the rate, since the newest sweep is taken",
        limits=(0.0, 1000.0),
        changes=ANY_TIME,
    )

    lidar_topic: str = _parameter("/lidar_top", "LiDAR sweeps, sensor_msgs/PointCloud2")
    lidar_topics: tuple[str, ...] = _parameter(
        (),
        "several LiDARs whose clouds are merged into one sweep through TF; the first gives the sweep its stamp. "
        "Empty: lidar_topic alone",
    )
    intensity_max: float = _parameter(
        255.0,
        "the clouds' value of full intensity (255 for nuScenes, 1 where it is normalized already)",
        limits=(1e-6, 1e9),
        changes=ANY_TIME,
    )
    min_range: float = _parameter(
        MIN_RANGE,
        "metres; a point nearer to its LiDAR is no return, as one at (0, 0, 0) is",
        limits=(0.0, 100.0),
        changes=ANY_TIME,
    )
    deskew: bool = _parameter(
        True,
        "bring each point to the sweep's stamp, where the clouds have a time for each "
        "point and fixed_frame is set; false where the driver has done so",
        changes=ANY_TIME,
    )
    ego_box: tuple[float, ...] = _parameter(
        (),
        "the vehicle itself: x min, x max, y min, y max, z min and z max in metres; returns from inside are left "
        "out. Empty: those from the circle that the model was trained with",
        changes=ANY_TIME,
    )
    ego_box_frame: str = _parameter("", "TF frame of ego_box, such as base_link; empty: the grid's", changes=ANY_TIME)
    cameras: tuple[str, ...] = _parameter(NUSCENES_CAMERAS, "names of the cameras; []: LiDAR alone")
    image_topics: tuple[str, ...] = _parameter(
        ("/{camera}/image_rect_compressed",),
        "images: one pattern in which {camera} stands for each name, or one topic per camera",
    )
    image_transport: str = _parameter(
        "auto",
        "raw (sensor_msgs/Image), compressed (sensor_msgs/CompressedImage), or auto: compressed where the "
        "topic's name ends so",
        choices=("auto", "raw", "compressed"),
    )
    camera_info_topics: tuple[str, ...] = _parameter(
        ("/{camera}/camera_info",), "calibrations, sensor_msgs/CameraInfo; a pattern or one topic per camera"
    )
    images_rectified: str = _parameter(
        "auto",
        "true: images are rectified, so P of their calibration holds; false: they are not, and are undistorted "
        "by K, D, R and P; auto: rectified where the topic's name says so",
        choices=("auto", "true", "false"),
    )
    camera_masks: tuple[str, ...] = _parameter(
        ("",),
        "PNG files, black where a camera sees the vehicle itself and white elsewhere, of the images' size or in "
        "proportion: one pattern with {camera}, or one file per camera, none for no mask",
    )
    lidar_reliability: str = _parameter("auto", _RELIABILITY, choices=RELIABILITIES)
    lidar_depth: int = _parameter(5, "QoS history depth of the sweeps", limits=(1, 100))
    camera_reliability: str = _parameter("auto", "the same for images and calibrations", choices=RELIABILITIES)
    camera_depth: int = _parameter(5, "QoS history depth of images and calibrations", limits=(1, 100))

    grid_frame: str = _parameter(
        "", "TF frame of the grid (x right, y forward, z up, as the model was trained); empty: the LiDAR's own frame"
    )
    fixed_frame: str = _parameter(
        "",
        "TF frame that stands still, such as map or odom, to account for the vehicle's motion between image and sweep, "
        "and within a sweep, and to remember in; empty: motion is neglected, and nothing remembered",
    )
    camera_tolerance_s: float = _parameter(
        0.1,
        "most seconds between the stamps of a sweep and an image, or another LiDAR's cloud, that belongs to it",
        limits=(0.0, 10.0),
        changes=ANY_TIME,
    )
    max_wait_s: float = _parameter(
        0.15,
        "most seconds that a sweep waits for late images, and for late transforms",
        limits=(0.0, 10.0),
        changes=ANY_TIME,
    )
    release: str = _parameter(
        "certain",
        "when a sweep goes with the images at hand: certain (once no nearer one can come), or rhythm (also once none "
        "is due that would be nearer, by the shortest of each camera's last 8 intervals: earlier, and wrong where a "
        "camera speeds up)",
        choices=("certain", "rhythm"),
        changes=ANY_TIME,
    )

    memory: str = _parameter(
        "none",
        "what earlier frames add to an answer, in fixed_frame: none; short: what stands still, for a minute after it "
        "was last seen; long: for as long as it lies within reach",
        choices=("none", "short", "long"),
    )
    memory_range_m: float = _parameter(
        0.0, "metres to each side of the vehicle that are remembered, at least the grid's", limits=(0.0, 150.0)
    )
    memory_device: str = _parameter(
        "cpu", "where the memory is kept and worked on: cpu; cuda: an NVIDIA GPU, by PyTorch", choices=("cpu", "cuda")
    )
    movable_memory_s: float = _parameter(
        0.0,
        "seconds for which what can move, such as a vehicle, is remembered where nothing looks; 0: not at all",
        limits=(0.0, 3600.0),
        changes=ANY_TIME,
    )
    memory_file: str = _parameter(
        "",
        "file, ending in .npz, that ~/save_memory writes and ~/load_memory reads; absolute, or from the node's working "
        "folder on",
        changes=ANY_TIME,
    )
    unknown: str = _parameter(
        "none",
        "which voxels are answered as unknown instead of free: none; occluded: those that no ray has reached, in this "
        "sweep or in memory; confidence: those that the network does not surely call free, see free_below, and that no "
        "ray has reached in memory",
        choices=("none", "occluded", "confidence"),
    )
    free_below: float = _parameter(
        0.02,
        "probability of being occupied below which an empty voxel is surely free, where unknown is confidence",
        limits=(0.0, 1.0),
        changes=ANY_TIME,
    )

    past_sweeps: int = _parameter(
        0,
        "earlier sweeps, brought here through fixed_frame, that a model with lags is told of",
        limits=(0, MOST_SWEEPS),
    )

    classes_file: str = _parameter(
        "", "YAML file that merges, drops, renames or recolors classes, for all outputs; see config/classes.yaml"
    )
    dense: bool = _parameter(
        False, "publish ~/occupancy with every voxel listed instead of the occupied ones", changes=ANY_TIME
    )
    confidence: bool = _parameter(
        True,
        "say in ~/occupancy how probable it is that each voxel is occupied, and of its class; ~/segmentation and "
        "~/from_above/confidence do not know it otherwise",
        changes=ANY_TIME,
    )
    color_by: str = _parameter(
        "class",
        "colors of ~/markers and ~/points: class; confidence: from red over yellow to blue, the more probable it is "
        "that the label is right, and gray where it is only remembered; faded: that of the class, the grayer the less "
        "probable it is, and half gray where it is only remembered",
        choices=("class", "confidence", "faded"),
        changes=ANY_TIME,
    )
    max_markers: int = _parameter(
        75_000,
        "most boxes in ~/markers, of up to 8 voxels each; the nearest are kept",
        limits=(0, 10_000_000),
        changes=ANY_TIME,
    )
    marker_lifetime_s: float = _parameter(
        5.0,
        "seconds after which a viewer drops the markers when no new ones come; 0 keeps them",
        limits=(0.0, 3600.0),
        changes=ANY_TIME,
    )
    voxel_grid_merge: int = _parameter(
        2,
        "voxels along each edge of a cell of ~/voxel_grid, which is there where foxglove_msgs is installed",
        limits=(1, 16),
        changes=ANY_TIME,
    )
    voxel_grid_range_m: float = _parameter(
        0.0,
        "metres from the grid frame's origin along x and y beyond which ~/voxel_grid has nothing; 0: the whole grid",
        limits=(0.0, 1000.0),
        changes=ANY_TIME,
    )

    obstacle_band_m: tuple[float, ...] = _parameter(
        (0.3, 2.5), "metres above the road, from and to, between which the center of a voxel must lie to be an obstacle"
    )
    max_step_m: float = _parameter(
        0.3, "metres; a step of the road that is higher is an obstacle, as a high curb is", limits=(0.0, 10.0)
    )
    max_slope_deg: float = _parameter(
        20.0, "degrees; a road that is steeper, over two metres, is an obstacle", limits=(0.0, 89.0)
    )
    class_costs: tuple[str, ...] = _parameter(
        ("other_flat:20", "sidewalk:50", "terrain:70"),
        "what classes, by the names that classes_file gives them, cost in ~/costmap, as name:cost from 0 to 100; 100 "
        "blocks. Flat ground that is not listed costs 0, and all else 100",
    )
    costmap_bands: tuple[str, ...] = _parameter(
        (),
        "further costmaps, as name:from:to in metres above the road: ~/costmap/<name> has what blocks in that band, "
        "such as high:2.5:4 for what a truck must pass under",
    )
    costmap_unknown: int = _parameter(
        -1,
        "value of cells in costmaps of which nothing is known; 50 for Autoware, whose own map has probabilities",
        limits=(-1, 100),
        changes=ANY_TIME,
    )

    def __post_init__(self) -> None:
        # rclpy gives None for an empty list.
        lists = "lidar_topics cameras image_topics camera_info_topics camera_masks class_costs costmap_bands"
        for name in lists.split():
            object.__setattr__(self, name, tuple(entry for entry in getattr(self, name) or () if entry))
        if isinstance(self.images_rectified, bool):
            object.__setattr__(self, "images_rectified", text_of(self.images_rectified))
        for parameter in fields(self):
            check_value(parameter, getattr(self, parameter.name))
        for name in ("cameras", "lidar_topics"):
            if len(set(given := getattr(self, name))) != len(given):
                raise ParameterError(f"{name}: expected different names, got {list(given)}")
        object.__setattr__(self, "ego_box", extents_of(self.ego_box))
        object.__setattr__(self, "obstacle_band_m", band_of("obstacle_band_m", self.obstacle_band_m))
        costs_of(self.class_costs)
        bands_of(self.costmap_bands)
        for name in ("image_topics", "camera_info_topics", *(["camera_masks"] if self.camera_masks else [])):
            self._topics(name)

    @property
    def asks_for_confidence(self) -> bool:
        """Whether an output says how sure the network is."""
        return self.confidence or self.color_by != "class"

    @property
    def doubt(self) -> float | None:
        """Probability of being occupied from which on an empty voxel is unknown; None: whatever it is."""
        return self.free_below if self.unknown == "confidence" else None

    @property
    def clouds(self) -> tuple[str, ...]:
        """Topics of all LiDARs; the first anchors the sweep."""
        return self.lidar_topics or (self.lidar_topic,)

    def camera_topics(self) -> dict[str, tuple[str, str]]:
        """Image topic and calibration topic by camera."""
        return dict(zip(self.cameras, zip(self._topics("image_topics"), self._topics("camera_info_topics"))))

    def camera_mask_files(self) -> dict[str, str]:
        """Mask file by camera, "none" for none; empty where there are no masks."""
        return dict(zip(self.cameras, self._topics("camera_masks"))) if self.camera_masks else {}

    @property
    def camera_masks_are_a_pattern(self) -> bool:
        """Whether mask files are named by a pattern, so that some of them may be missing."""
        return len(self.camera_masks) == 1 and "{camera}" in self.camera_masks[0]

    def is_compressed(self, image_topic: str) -> bool:
        """Whether a topic carries CompressedImage."""
        by_name = self.image_transport == "auto"
        return image_topic.endswith("compressed") if by_name else self.image_transport == "compressed"

    def changed(self, values: dict[str, Any]) -> "NodeParameters":
        """A copy with other values, for a node that is configured.

        Raises:
            ParameterError: a value out of range, or of a parameter that must not change now.
        """
        frozen = [p.name for p in fields(self) if p.name in values and p.metadata["changes"] != ANY_TIME]
        if frozen:
            raise ParameterError(
                f"{', '.join(frozen)} can only change while the node is unconfigured: deactivate it "
                "and clean it up first (ros2 lifecycle set)"
            )
        return replace(self, **values)

    def _topics(self, name: str) -> list[str]:
        """One topic, or file, per camera, from a pattern or a list."""
        given = getattr(self, name)
        if len(given) == 1 and "{camera}" in given[0]:
            return [given[0].replace("{camera}", camera) for camera in self.cameras]
        if len(given) != len(self.cameras):
            kind = "files" if name == "camera_masks" else "topics"
            raise ParameterError(
                f"{name}: expected one pattern with {{camera}} or {len(self.cameras)} {kind}, one "
                f"for each of {list(self.cameras)}, got {list(given)}"
            )
        return list(given)


def check_values(values: dict[str, Any]) -> None:
    """Check values one by one, for a node that is not configured: others may follow before they have to fit together.

    Raises:
        ParameterError: a value out of range.
    """
    for parameter in fields(NodeParameters):
        if parameter.name in values:
            check_value(parameter, values[parameter.name])


def meaning(parameter: Field) -> str:
    """Give a parameter's description with its limits."""
    limits = parameter.metadata["limits"]
    return parameter.metadata["description"] + (f" ({limits[0]:g} to {limits[1]:g})" if limits else "")
