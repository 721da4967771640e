"""What the tests share: scripted servers, a private network, a private Postfix."""
