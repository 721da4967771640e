"""Being a delivery agent under Postfix."""
