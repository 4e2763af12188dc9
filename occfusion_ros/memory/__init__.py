"""What earlier frames have seen: a volume of voxels that stands still while the vehicle drives through it."""
