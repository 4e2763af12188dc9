"""Say which drives are for what: no drive that is measured was trained on."""

TESTS = range(0, 1_000)  # also the drives on which exported networks are compared with PyTorch
TRAINING = range(1_000, 500_000)
DEMO = range(500_000, 600_000)
GENERATION = range(700_000, 800_000)  # timed while they are made
QUANTIZATION = range(800_000, 900_000)  # ranges of INT8
VALIDATION = range(900_000, 901_000)  # thresholds are fitted, variants measured and lenses compared on them
TIMING = range(901_000, 902_000)  # frames of them are timed (those of docs/performance.json: of drive 900002)
GALLERY = range(910_000, 920_000)  # pictures of pages

ALL = {
    "tests": TESTS,
    "training": TRAINING,
    "demo": DEMO,
    "generation": GENERATION,
    "quantization": QUANTIZATION,
    "validation": VALIDATION,
    "timing": TIMING,
    "gallery": GALLERY,
}
