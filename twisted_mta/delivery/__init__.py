"""One request from its route to the fate of each recipient."""
