"""From a destination to the ordered Candidates of its mail exchangers."""
