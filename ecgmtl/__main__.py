"""`python -m ecgmtl` is the `ecgmtl` command."""

from ecgmtl.cli import main

main()
