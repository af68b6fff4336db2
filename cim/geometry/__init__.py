"""Batches of 3D bodies: their form, measures, appearance, faults, and rules among objects. Arrays in and out."""
