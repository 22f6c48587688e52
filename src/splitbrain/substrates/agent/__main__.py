"""``python3 -m splitbrain.substrates.agent``: see the package."""

from .main import main

if __name__ == "__main__":
    main()
