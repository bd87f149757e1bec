"""A teleoperator of LeRobot: the operator's hand, seen by a camera. LeRobot imports this package by its name."""

from .wildhands import WildHands, WildHandsConfig

__all__ = ["WildHands", "WildHandsConfig"]
