"""SASL with servers: mechanisms, the choice between them, credentials."""
