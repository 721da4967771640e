"""The attribute protocol of Postfix's private sockets, and clients that speak it."""
