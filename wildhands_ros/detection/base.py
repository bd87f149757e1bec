"""The names of the ways to hands."""

from __future__ import annotations

AUTO, OWN, MEDIAPIPE, TOPIC, TRACKS = DETECTORS = ("auto", "own", "mediapipe", "topic", "tracks")
"""Ways to hands. auto: the detector in the box, on the whole image and, as far as time allows, on tiles of it; own: on the whole image
alone; what either proposes is verified by the landmark network. mediapipe: MediaPipe Hands. topic: each image comes with its detections.
tracks: detections come now and then, and hands are followed in between."""
