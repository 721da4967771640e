"""A stub resolver: questions in, Answers out."""
