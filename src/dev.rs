//! Stand-ins for what a laptop lacks: a token issuer, a token endpoint and a certificate authority.
