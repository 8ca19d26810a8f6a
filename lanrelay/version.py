"""Which release this is; the packaging takes it from here, too."""

__version__ = "0.1.0"
