"""The file that says what is to become of the model's classes."""

from pathlib import Path

from ...core.errors import one_line
from ...core.labels import SemanticClass
from ...core.relabeling import Relabeling, RelabelingError
from .parameters import ParameterError


def read_classes(path: str, classes: tuple[SemanticClass, ...]) -> Relabeling:
    """What becomes of a model's classes by a YAML file; without one they stay as they are.

    Raises:
        ParameterError: it cannot be read, or is no table of these classes.
    """
    import yaml

    if not path:
        return Relabeling.of(classes, {})
    try:
        return Relabeling.of(classes, yaml.safe_load(Path(path).expanduser().read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RelabelingError) as error:
        raise ParameterError(f"classes_file: cannot use {path}: {one_line(error)}") from error
