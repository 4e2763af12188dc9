"""Drives written as data roots in the nuScenes format."""
