"""Readers of files with the trajectory of a camera or device."""
