"""What stands in the world: meshes of vehicles, people, plants, buildings."""
