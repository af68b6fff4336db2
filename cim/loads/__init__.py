"""Loads as units: begun, listed, examined, taken back; what they set aside."""
