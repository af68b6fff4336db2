"""From files to the store, in the order of the flow: discover, open, place, map, prepare, stage, merge."""
