"""Login by the site's OpenID provider: the authorization code flow with PKCE (OpenID Connect Core 3.1, RFC 7636)."""
