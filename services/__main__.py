"""`python -m services` is the command line."""

from services.cli.main import main

main()
