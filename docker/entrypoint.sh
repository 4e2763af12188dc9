#!/usr/bin/env bash
# Starts the node (node [ARGUMENT:=VALUE]...), the demo (demo [OPTION]...) or any other command, with ROS sourced.
set -e
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /ws/install/setup.bash
case "$1" in
    node) exec ros2 launch occfusion_ros occ.launch.py "${@:2}" ;;
    demo) cd /ws/src/occfusion_ros && exec python3 -m occfusion_ros.ros.demo --out /out "${@:2}" ;;
    *) exec "$@" ;;
esac
