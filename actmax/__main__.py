"""`python -m actmax`, the same as the command `actmax`."""

import sys

from actmax.cli import main

if __name__ == "__main__":
    sys.exit(main())
