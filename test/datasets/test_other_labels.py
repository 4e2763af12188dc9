"""Labels that are not found are recognized by what lies in the folder."""

import pytest

from occfusion_ros.datasets.other_labels import explain


@pytest.mark.parametrize(
    "file, said",
    [
        ("gts/scene-0001/1a2b/labels.npz", "{root}/gts holds labels of Occ3D, whose grid (200 x 200 x 16"),
        ("occ3d/gts/scene-0001/1a2b/labels.npz", "{root}/occ3d/gts holds labels of Occ3D"),
        ("scene-0001/1a2b/labels.npz", "{root} holds labels of Occ3D"),
        ("nuscenes_occ/samples/n015__LIDAR_TOP__1.pcd.bin.npy", "{root}/nuscenes_occ holds labels of SurroundOcc"),
        ("dense_voxels/n015__LIDAR_TOP__1.pcd.bin.npy", "{root}/dense_voxels holds labels of SurroundOcc"),
        (
            "nuScenes-Occupancy/scene_1a/occupancy/2b.npy",
            "{root}/nuScenes-Occupancy holds labels of OpenOccupancy: move",
        ),
        ("data/nuScenes-Occupancy/scene_1a/occupancy/2b.npy", "{root}/data/nuScenes-Occupancy holds labels of OpenOcc"),
        ("../scene_1a/occupancy/2b.npy", "move its folders scene_* to {root}"),
        ("occupancy/2b.npy", "{root}/occupancy holds files of OpenOccupancy without their folder"),
    ],
)
def test_labels_of_other_projects_and_in_other_places(tmp_path, file, said):
    root = tmp_path / "data" / "root"
    for folder in ("samples/LIDAR_TOP", "v1.0-mini"):
        (root / folder).mkdir(parents=True)
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert said.format(root=root) in explain(root)
    assert explain(root).count("holds") == 1


def test_where_there_is_nothing_nothing_is_said(tmp_path):
    (tmp_path / "root" / "occupancy").mkdir(parents=True)
    assert explain(tmp_path / "root") == explain(tmp_path / "nowhere") == ""
