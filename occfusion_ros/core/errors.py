"""Errors a caller can act on; every message says what was expected and what was got."""

MOST_CHARACTERS = 2000  # what a message quotes may come from outside and be of any length


class OccFusionError(Exception):
    """Base class of all errors raised on purpose by this package; long messages are cut."""

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} ..."


class InvalidFrameError(OccFusionError):
    """A sensor frame, image, cloud or calibration that cannot be used."""


class ContractError(OccFusionError):
    """A model artifact that is missing, damaged or does not match this software."""


class BackendError(OccFusionError):
    """An inference backend that could not be loaded or failed while running."""


class DatasetError(OccFusionError):
    """A data root or bag that is missing, damaged or lacks something asked for."""


def one_line(error: BaseException, most: int = 300) -> str:
    """What a library's error says, on one line and not too long, to be quoted in a message of ours."""
    text = " ".join(str(error).split()) or repr(error)
    return text if len(text) <= most else text[:most] + " ..."
