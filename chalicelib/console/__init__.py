"""The console's logins under /c: with a password, and by OpenID Connect."""
