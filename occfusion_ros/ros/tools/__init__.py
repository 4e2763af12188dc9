"""Commands for people: pictures of what is published, a doctor, bags from nuScenes, an SROS2 policy."""
