"""Labels recordings: bags and nuScenes roots in, occupancy and a nuScenes root out, on any number of machines."""
