"""OAuth2 tokens: acquired, kept and refreshed in the process, for logins by XOAUTH2 and OAUTHBEARER."""
