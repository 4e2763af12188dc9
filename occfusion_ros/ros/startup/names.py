"""Names of ROS topics and services, as a node resolves them."""


def full_name(name: str, node: str) -> str:
    """A name as the node sees it: ~/x belongs to the node, x to its namespace, /x to nobody.

    Args:
        name: relative, private or absolute.
        node: full name of the node, such as /robot1/occfusion.
    """
    if name.startswith("~"):
        return node + name[1:]
    return name if name.startswith("/") else f"{node.rpartition('/')[0]}/{name}"


def node_name(name: str, namespace: str) -> str:
    """Full name of a node; the namespace may be empty or have slashes around it."""
    return "/".join(["", *filter(None, namespace.split("/")), name])
