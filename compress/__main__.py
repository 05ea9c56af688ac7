"""`python -m compress`, and with it `torchrun -m compress` and `accelerate launch -m compress`."""

from __future__ import annotations

from compress.cli import main

if __name__ == "__main__":
    main()
