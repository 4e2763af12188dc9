"""Grid, labels, frames, camera geometry and contract: standard library and numpy only."""
