"""``python -m occfusion_ros.datasets.synthetic``: see `make`."""

import sys

from .make import main

sys.exit(main())
