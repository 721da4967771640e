"""The one exception of this room: a configuration that cannot be used.

Flow: every module here raises it; cli/ shows it, and generations.py makes it the text with which a resident service defers mail.
Sources: postconf(5); the texts are those that a running Postfix logs before it gives up.
"""


class ConfigError(Exception):
    """A setting, or a line of main.cf or master.cf, is wrong.

    Attributes:
        text: what is wrong, in Postfix's words.
        cause: what Postfix would log as a warning before that text; empty where the text says it all.
        parameter: the parameter that is concerned; empty where none is.
        file: the file that is concerned; empty where it is not known.
        line: its first line that is concerned, counted from 1; 0 where it is not known.
        mended_in: a file whose change may mend it, where the text names that already; empty where there is none.
    """

    def __init__(
        self, text: str, *, cause: str = "", parameter: str = "", file: str = "", line: int = 0, mended_in: str = ""
    ) -> None:
        super().__init__(text)
        self.text = text
        self.cause = cause
        self.parameter = parameter
        self.file = file
        self.line = line
        self.mended_in = mended_in

    @property
    def where(self) -> str:
        """The place as people write it: ``FILE, line N``, ``FILE``, or empty."""
        return f"{self.file}, line {self.line}" if self.file and self.line else self.file

    def describe(self) -> str:
        """One line that says where the trouble is, what it is, and why."""
        about = f"parameter {self.parameter}" if self.parameter and self.parameter not in self.text + self.cause else ""
        return ": ".join(part for part in (self.where, about, self.text, self.cause) if part)
