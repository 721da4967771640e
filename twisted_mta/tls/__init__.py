"""TLS with servers: levels and policies, contexts, verification, what is told of it."""
