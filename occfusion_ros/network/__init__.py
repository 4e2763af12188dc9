"""The OccFusion network and its parts."""
