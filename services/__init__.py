"""What people and programs reach: HTTP services, the viewer, the command line."""
