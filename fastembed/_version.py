"""The version. To release: change it here, date the entry in CHANGELOG.md, tag the commit ``v<version>``."""

__version__ = "0.1.0"
