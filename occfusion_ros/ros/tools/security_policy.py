"""The SROS2 policy of the node: what it may publish, subscribe to and serve, and nothing else.

It follows from the node's parameters; a test compares it with what the running node does. `config/sros2_policy.xml` is
the one for the default parameters.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree

from ...core.command import failed, parser_of
from ...core.errors import OccFusionError
from ..node.parameters import NodeParameters
from ..node.parameters_file import read_parameters_file
from ..startup.names import full_name, node_name

PUBLISHED = (
    "~/occupancy",
    "~/classes",
    "~/legend",
    "~/markers",
    "~/points",
    "~/unknown",
    "~/segmentation",
    "~/obstacles",
    "~/from_above/*",
    "~/debug/processing_time_ms/*",
    "~/transition_event",
    "/diagnostics",
    "/parameter_events",
    "/rosout",
)
OPTIONAL = ("~/height_map", "~/labels", "~/voxel_grid")  # published where their message packages are installed
SUBSCRIBED = ("/clock", "/tf", "/tf_static")  # besides the sensors
SERVED = (
    "describe_parameters",
    "get_parameter_types",
    "get_parameters",
    "get_type_description",
    "list_parameters",
    "set_parameters",
    "set_parameters_atomically",
    "change_state",
    "get_available_states",
    "get_available_transitions",
    "get_state",
    "get_transition_graph",
    "load_memory",
    "reset_memory",
    "save_memory",
)


def policy(parameters: NodeParameters, namespace: str = "/", node: str = "occfusion") -> str:
    """The policy as XML, for an enclave of the node's full name."""
    own = node_name(node, namespace)
    sensors = [*parameters.clouds, *(topic for pair in parameters.camera_topics().values() for topic in pair)]
    costmaps = ("~/costmap", "~/costmap/*") if parameters.fixed_frame else ()
    overlays = ("~/overlay/*",) if parameters.cameras else ()
    root = ElementTree.Element("policy", version="0.2.0")
    enclave = ElementTree.SubElement(ElementTree.SubElement(root, "enclaves"), "enclave", path=own)
    profile = ElementTree.SubElement(ElementTree.SubElement(enclave, "profiles"), "profile", ns=namespace, node=node)
    for kind, right, names in (
        ("topic", "publish", (*PUBLISHED, *OPTIONAL, *costmaps, *overlays)),
        ("topic", "subscribe", (*sensors, *SUBSCRIBED)),
        ("service", "reply", [f"~/{name}" for name in SERVED]),
    ):
        rules = ElementTree.SubElement(profile, f"{kind}s", {right: "ALLOW"})
        for name in sorted({full_name(name, own) for name in names}):
            ElementTree.SubElement(rules, kind).text = name
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def main(argv: list[str] | None = None) -> int:
    """Command line entry point; 1 where a file that is to be checked is another policy."""
    parser = parser_of("python -m occfusion_ros.ros.tools.security_policy", __doc__)
    parser.add_argument("--params-file", type=Path, help="the node's parameters (default: their defaults)")
    parser.add_argument("--namespace", default="/", help="of the node (default: /)")
    parser.add_argument("--node", default="occfusion", help="its name (default: occfusion)")
    parser.add_argument("--check", type=Path, metavar="FILE", help="say whether FILE is this policy")
    options = parser.parse_args(argv)
    try:
        own = node_name(options.node, options.namespace)
        parameters = read_parameters_file(options.params_file, own) if options.params_file else NodeParameters()
        wanted = policy(parameters, options.namespace, options.node)
        if not options.check:
            print(wanted, end="")
        elif options.check.read_text() != wanted:
            print(f"{options.check} is not the policy for these parameters: write it anew", file=sys.stderr)
            return 1
    except (OccFusionError, OSError) as error:
        return failed(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
