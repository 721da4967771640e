"""What tables have in common that hold no file and no connection.

Flow: such types build on it.
"""


class ConstantTable:
    """A table that never changes, with nothing to give back."""

    def __init__(self, name: str) -> None:
        self.name = name

    def changed(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """There is nothing to give back."""
