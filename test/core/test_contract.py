import copy
from dataclasses import replace

import numpy as np
import pytest
import yaml

from occfusion_ros.core.confidence import Calibration, Confidence
from occfusion_ros.core.contract import ModelContract, NetworkFile, NetworkSpec, TensorSpec
from occfusion_ros.core.errors import ContractError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.core.preprocessing import UNRECORDED, Preprocessing


def contract() -> ModelContract:
    tensors = (TensorSpec("images", "uint8", ("cameras", 3, 256, 704)),), (TensorSpec("labels", "uint8", (5, 64)),)
    networks = {
        name: NetworkSpec({"fp32": NetworkFile(f"{name}.onnx", "ab" * 32)}, *tensors) for name in ("fuser", "refiner")
    }
    return ModelContract(
        model_id="m",
        grid=GridSpec(),
        coarse_factor=4,
        grid_frame="somewhere",
        classes=OPENOCCUPANCY_CLASSES,
        max_cameras=8,
        image_size=(256, 704),
        horizon=0.27,
        points_per_voxel=4,
        fusion_queries=8192,
        refine_budget=1024,
        preprocessing=Preprocessing(),
        confidence=Confidence(Calibration(occupancy=tuple(np.linspace(0, 0.9, 256).tolist()))),
        checkpoint_sha256="cd" * 32,
        trained_on="nothing",
        accuracy={"iou": 0.5},
        **networks,
    )


def test_yaml_round_trip():
    text = yaml.safe_dump(contract().to_dict())
    assert ModelContract.from_dict(yaml.safe_load(text)) == contract()


def test_a_contract_that_says_nothing_of_preprocessing_has_the_values_it_was_trained_with():
    old = contract().to_dict() | {"format": 2}
    del old["preprocessing"], old["confidence"]
    read = ModelContract.from_dict(old)
    assert read == replace(contract(), preprocessing=UNRECORDED, confidence=None)
    assert ModelContract.from_dict(read.to_dict()) == read and read.to_dict()["format"] == 8
    assert (UNRECORDED.version, UNRECORDED.ego_radius, UNRECORDED.near, UNRECORDED.range_scale) == (1, 1.5, 0.5, 50.0)


@pytest.mark.parametrize("before", [4, 5])
def test_a_contract_that_says_nothing_of_lags_is_of_a_model_without(before):
    old = contract().to_dict() | {"format": before}
    del old["preprocessing"]["lags"]
    if before < 5:
        del old["confidence"]
    assert ModelContract.from_dict(old).preprocessing == Preprocessing() and not Preprocessing().lags
    claiming = {**old, "preprocessing": {**old["preprocessing"], "lags": True}}
    with pytest.raises(ContractError, match=f"no lags in format {before}"):
        ModelContract.from_dict(claiming)
    with pytest.raises(ContractError, match=r"missing \['lags'\]"):
        ModelContract.from_dict(old | {"format": 6, "confidence": None})


def test_a_screen_of_format_7_is_refused():
    old = contract().to_dict() | {"format": 7}
    assert ModelContract.from_dict(old) == contract()
    old["fuser"]["outputs"] = [*old["fuser"]["outputs"], {"name": "screened", "dtype": "int64", "shape": [5]}]
    with pytest.raises(ContractError, match="format 7 has another screen"):
        ModelContract.from_dict(old)
    assert ModelContract.from_dict(old | {"format": 8}).fuser.outputs[-1].name == "screened"


def test_programs_of_pytorch_that_an_old_contract_names_are_left_out():
    old = contract().to_dict() | {"format": 3, "pytorch": "2.13.0"}
    for network in ("fuser", "refiner"):
        old[network]["files"]["program"] = {"name": f"{network}.pt2", "sha256": "ef" * 32}
    del old["confidence"], old["preprocessing"]["lags"]
    assert ModelContract.from_dict(old) == replace(contract(), confidence=None)
    assert "program" in old["fuser"]["files"]
    with pytest.raises(ContractError, match="fuser: expected a mapping"):
        ModelContract.from_dict(old | {"fuser": None})


@pytest.mark.parametrize(
    "path, value, message",
    [
        (("format",), 1, "format must be one of 2, 3, 4, 5, 6, 7, 8, got 1: export"),
        (("surprise",), 1, r"unknown \['surprise'\]"),
        ((7,), 1, r"unknown \['7'\]"),
        (("grid",), None, "grid: expected a mapping"),
        (("grid", "voxel_size"), "wide", "grid: "),
        (("grid", "size"), [512, 512, 41], "divide"),
        (("grid", "low"), [0, 0, float("nan")], "grid needs"),
        (("coarse_factor",), 4.0, "coarse_factor must be a positive integer, got 4.0"),
        (("max_cameras",), 0, "max_cameras must be a positive integer, got 0"),
        (("classes",), [], "labels must be 1..n"),
        (("classes",), "all", "classes must be a list"),
        (("classes", 0, "label"), 2, "labels must be 1..n"),
        (("classes", 0, "rgb"), [0, 0, 256], "color"),
        (("image_size",), 256, "contract: "),
        (("image_size",), [256, 7.5], "image_size"),
        (("horizon",), 1.5, "horizon"),
        (("format",), [3], "format must be one of 2, 3, 4, 5, 6, 7, 8, got"),
        (("format",), True, "format must be one of 2, 3, 4, 5, 6, 7, 8, got"),
        (("preprocessing",), None, "preprocessing: expected a mapping"),
        (("preprocessing", "version"), 2, "trained with version 2, this software has 1: take the software"),
        (("preprocessing", "position_steps"), 65536, "trained with position_steps 65536, this software has 32768"),
        (("preprocessing", "intensity_steps"), 255, "trained with intensity_steps 255, this software has 65535"),
        (("preprocessing", "ego_radius"), -1, "ego_radius must lie between 0.0 and 10000 metres, got -1"),
        (("preprocessing", "near"), 0, "near must lie between"),
        (("preprocessing", "range_scale"), float("nan"), "range_scale must lie between"),
        (("preprocessing", "ego_radius"), "1.5", "ego_radius must lie between"),
        (("preprocessing", "lags"), 1, "lags must be true or false, got 1"),
        (("preprocessing", "mirrors"), 1, r"preprocessing: missing \[\], unknown \['mirrors'\]"),
        (("confidence",), 0.5, "confidence: expected a mapping, got 0.5"),
        (("confidence", "fuser"), None, "confidence: expected a mapping, got None"),
        (("confidence", "other"), {"occupancy": [0] * 256, "classes": [0] * 256}, r"unknown \['other'\]"),
        (("confidence", "fuser", "occupancy"), [0.5] * 255, "expected 256 numbers of occupancy"),
        (("confidence", "refiner", "classes"), ["sure"] * 256, "expected 256 numbers of classes"),
        (("confidence", "refiner", "classes"), [0.5] * 255 + [0.4], "expected classes in 0..1 that never falls"),
        (("confidence", "fuser", "classes"), [0.5] * 255 + [1.1], "expected classes in 0..1 that never falls"),
        (("confidence", "fuser", "classes"), [0.5] * 255 + [float("nan")], "expected classes in 0..1"),
        (("pytorch",), "2.13.0", r"unknown \['pytorch'\]"),
        (("accuracy",), "good", "accuracy must be a dict"),
        (("fuser", "files", "fp32", "name"), "../fuser.onnx", "plain file name"),
        (("fuser", "files", "fp32", "sha256"), "AB" * 32, "sha256 must be 64 lower-case"),
        (("fuser", "files", "fp32"), "fuser.onnx", "fp32: expected a mapping"),
        (
            ("fuser", "files", "fp8"),
            {"name": "fuser.fp8.onnx", "sha256": "ab" * 32},
            "fp32 and any others of fp32, fp16",
        ),
        (("fuser", "files", "program"), {"name": "fuser.pt2", "sha256": "ab" * 32}, "got .*program"),
        (("fuser", "files"), {}, "network files must be fp32"),
        (("fuser", "files"), ["fuser.onnx"], "network files must be fp32"),
        (("fuser", "inputs", 0, "shape"), 3, "inputs: "),
        (("refiner", "outputs"), 3, "refiner: "),
    ],
)
def test_what_is_wrong_is_named(path, value, message):
    data = copy.deepcopy(contract().to_dict())
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ContractError, match=message):
        ModelContract.from_dict(data)


@pytest.mark.parametrize("missing", ["grid", "classes", "model_id", "fuser", "preprocessing"])
def test_missing_fields_are_refused(missing):
    data = contract().to_dict()
    del data[missing]
    with pytest.raises(ContractError, match=missing):
        ModelContract.from_dict(data)


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_something_else_than_a_mapping_is_refused(data):
    with pytest.raises(ContractError, match="format must be one of 2, 3, 4, 5, 6"):
        ModelContract.from_dict(data)
