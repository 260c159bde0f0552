//! A failure as it leaves a module: whose it is, what the client is told, and what we know.
//!
//! [`Reason`] is the one place that maps a failure to SQLSTATE, HTTP status, metric label and remedy.

use std::error::Error;
use std::fmt;

/// Whose failure it is; the first thing an operator wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The program that connected to us.
    Client,
    /// The policy, working as written.
    Policy,
    /// The identity of the workload: its token or the issuer behind it.
    Identity,
    /// The exchange of the identity for a warehouse credential.
    Exchange,
    /// The warehouse.
    Target,
    /// The audit log.
    Audit,
    /// Tollhouse itself.
    Tollhouse,
}

impl Blame {
    /// The word used in metrics and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Policy => "policy",
            Self::Identity => "identity",
            Self::Exchange => "exchange",
            Self::Target => "target",
            Self::Audit => "audit",
            Self::Tollhouse => "tollhouse",
        }
    }
}

/// What is known of a [`Reason`]: one row of the table that docs, protocols and metrics share.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Stable code, in records, metrics and the client's error detail.
    pub code: &'static str,
    /// Whose failure.
    pub blame: Blame,
    /// SQLSTATE told to a PostgreSQL client (PostgreSQL docs, appendix A).
    pub sqlstate: &'static str,
    /// HTTP status told to an HTTP client.
    pub http_status: u16,
    /// One sentence told to the client; never holds anything a peer sent.
    pub told: &'static str,
    /// What the reader should do about it.
    pub remedy: &'static str,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident { $code:literal, $blame:ident, $sqlstate:literal, $http:literal, $told:literal, $remedy:literal })*) => {
        /// Why something was refused or failed. The codes are stable: dashboards and runbooks may rely on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, in the order of the docs.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The row of the table for this reason.
            pub fn row(self) -> Row {
                match self {
                    $(Reason::$name => Row {
                        code: $code, blame: Blame::$blame, sqlstate: $sqlstate, http_status: $http, told: $told, remedy: $remedy,
                    },)*
                }
            }
        }
    };
}

reasons! {
    /// A message that the protocol does not allow here.
    ProtocolViolation { "protocol-violation", Client, "08P01", 400,
        "the client sent a message that the protocol does not allow here",
        "check the client library; the message type and state are in the log at level debug" }
    /// A startup packet that cannot be read.
    StartupInvalid { "startup-invalid", Client, "08P01", 400,
        "the startup packet is malformed or has an impossible length",
        "make sure that a PostgreSQL client, and not another protocol, connects to this port" }
    /// A startup parameter that would escape policy.
    StartupParameterRefused { "startup-parameter-refused", Client, "42501", 403,
        "a startup parameter is not allowed through the proxy",
        "remove it from the client's options; of those for the server's command line only `-c name=value` is passed on" }
    /// A protocol version that we do not speak.
    ProtocolVersion { "protocol-version", Client, "0A000", 505,
        "unsupported frontend protocol version",
        "use a client that speaks PostgreSQL protocol 3.0" }
    /// An HTTP request that is not in order, or not for this door.
    RequestMalformed { "request-malformed", Client, "08P01", 400,
        "the request is malformed, or not meant for this address",
        "the detail says which part; point the client at the listener's own address" }
    /// An execution of that name is not known.
    HandleUnknown { "handle-unknown", Client, "26000", 404,
        "no execution of that name was begun here, or it is long over",
        "let the client begin it again" }
    /// An execution of that name belongs to somebody else.
    HandleForeign { "handle-foreign", Client, "42501", 403,
        "the execution of that name was begun by another principal",
        "only who begins an execution may read or end it" }
    /// A session of that name is not known.
    SessionUnknown { "session-unknown", Client, "08003", 401,
        "no session of that name was opened here, or it is long over",
        "let the client log in again" }
    /// A session of that name belongs to somebody else.
    SessionForeign { "session-foreign", Client, "42501", 403,
        "the session of that name was opened by another principal",
        "only who opens a session may use it" }
    /// Names in the session are about to lead elsewhere.
    SessionBusy { "session-busy", Client, "55006", 409,
        "a statement that changes where names lead runs in the session, or asks for it while others run",
        "one statement at a time in a session that says USE" }
    /// A statement may have moved a session, and no reply has said where to.
    SessionUnsettled { "session-unsettled", Client, "55000", 409,
        "where names lead in the session is not known since a statement that failed may have changed it",
        "write the database and schema of every name, say USE, or log in again" }
    /// A message over `limits.message_size` or `limits.statement_size`.
    MessageTooLarge { "message-too-large", Client, "54000", 413,
        "the message is larger than the configured limit",
        "raise the limit, or split the statement" }
    /// More prepared statements than a session may hold.
    TooManyPrepared { "too-many-prepared", Client, "54000", 413,
        "the session holds too many prepared statements",
        "let the client close statements that it no longer uses, or raise limits.prepared_statements_max" }
    /// The client did not finish its startup in time.
    HandshakeTimeout { "handshake-timeout", Client, "08006", 408,
        "the client did not finish its startup in time",
        "raise limits.handshake_timeout if the client is only slow" }
    /// Nothing was sent for too long.
    IdleTimeout { "idle-timeout", Client, "57P05", 408,
        "the session was idle for longer than allowed",
        "raise limits.idle_timeout or let the client reconnect" }
    /// The session is older than allowed.
    SessionAge { "session-age", Client, "57P05", 408,
        "the session is older than allowed",
        "let the client reconnect, or raise limits.session_age_max" }
    /// The client's own login towards the proxy failed.
    ClientAuthentication { "client-authentication", Client, "28P01", 401,
        "the client's login to the proxy failed",
        "give the client the secret in the file that listeners[].authentication.secret_file names" }
    /// The listener asks for TLS and the client came without.
    TlsRequired { "tls-required", Client, "28000", 426,
        "the listener requires TLS",
        "set sslmode=require or stronger in the client" }
    /// All connection slots are taken.
    ConnectionsExhausted { "connections-exhausted", Client, "53300", 503,
        "the proxy has no free connection slot",
        "raise limits.connections_max or lower the client's thread count" }
    /// The client went away.
    ClientClosed { "client-closed", Client, "08006", 499,
        "the client closed the connection",
        "see the client's own log" }
    /// A database or user name that the client asks for and the target does not offer.
    UnknownDatabase { "unknown-database", Client, "3D000", 404,
        "the client named no database",
        "set dbname in the client's profile" }

    /// No rule allows the statement.
    PolicyDenied { "policy-denied", Policy, "42501", 403,
        "the policy does not allow this statement",
        "run `tollhouse explain` with the statement to see the whole decision path" }
    /// A deny rule names the statement.
    PolicyDenyRule { "policy-deny-rule", Policy, "42501", 403,
        "a deny rule of the policy forbids this statement",
        "deny rules win over every allow; change the egressDeny rule named in the detail" }
    /// No policy selects the workload at all.
    PolicyNoneSelects { "policy-none-selects", Policy, "42501", 403,
        "no policy selects this workload, and the default is deny",
        "write a WarehousePolicy whose endpointSelector matches the workload's labels" }
    /// A Cilium policy forbids the connection to the warehouse.
    NetworkPolicyDenied { "network-policy-denied", Policy, "42501", 403,
        "a Cilium network policy does not allow the connection to the warehouse",
        "change the CiliumNetworkPolicy rule that is named, or the target's host and port; Cilium would drop the connection" }
    /// The statement could not be understood, and no rule allows its opaque class.
    StatementOpaque { "statement-opaque", Policy, "42501", 403,
        "the statement cannot be judged, and no rule allows its opaque class",
        "rewrite the statement, or allow the class by name under rules.sql[].opaque" }
    /// Rules allow the statement only where the dbt node that it names is verified, and it is not.
    DbtUnverified { "dbt-unverified", Policy, "42501", 403,
        "the policy allows this only to a dbt node that the manifest bears out",
        "the detail says what does not fit; build with the manifest that dbt.manifest names, or mount the new one" }

    /// The token file cannot be read.
    TokenUnreadable { "token-unreadable", Identity, "28000", 503,
        "the identity token cannot be read",
        "check that the projected token is mounted where identities[].token_file says" }
    /// The token file or variable holds nothing.
    TokenEmpty { "token-empty", Identity, "28000", 503,
        "there is nothing where the identity token should be",
        "check what writes identities[].token_file or sets identities[].token_env; it is read again at the next login" }
    /// The token is cut off.
    TokenIncomplete { "token-incomplete", Identity, "28000", 503,
        "the identity token is cut off",
        "whatever writes it must replace the file as a whole (write beside it, then rename), as the kubelet does" }
    /// The token was issued before one that was seen in its place.
    TokenOlder { "token-older", Identity, "28000", 503,
        "the identity token was replaced by an older one",
        "find out who put it there; if that was meant, restart the sidecar" }
    /// The API server does not accept the token.
    TokenReviewDenied { "token-review-denied", Identity, "28000", 503,
        "the Kubernetes API server does not accept the identity token",
        "the log has its words; most often the pod or service account is gone, or the token has expired" }
    /// The token is not a JWT.
    TokenMalformed { "token-malformed", Identity, "28000", 503,
        "the identity token is not a well-formed JWT",
        "check what writes the token file, or what the client shows as its password" }
    /// The token has expired.
    TokenExpired { "token-expired", Identity, "28000", 503,
        "the identity token has expired",
        "check that the kubelet still refreshes the projected volume, or the client its token, and the node's clock" }
    /// The token is not valid yet.
    TokenNotYetValid { "token-not-yet-valid", Identity, "28000", 503,
        "the identity token is not valid yet",
        "check the node's clock against the issuer's" }
    /// The token is for another audience.
    TokenWrongAudience { "token-wrong-audience", Identity, "28000", 503,
        "the identity token is meant for another audience",
        "the log has the audience that came and the one that identities[].audience names; the auto-mounted API token is never accepted" }
    /// The token comes from another issuer.
    TokenWrongIssuer { "token-wrong-issuer", Identity, "28000", 503,
        "the identity token comes from another issuer",
        "set identities[].issuer to the `iss` of the cluster's tokens" }
    /// The token's algorithm is not configured.
    TokenAlgorithm { "token-algorithm", Identity, "28000", 503,
        "the identity token is unsigned or signed with an algorithm that is not allowed",
        "the log has its name; list the issuer's algorithm under identities[].algorithms; `none` is never accepted" }
    /// The token carries a `crit` header.
    TokenCritical { "token-critical-header", Identity, "28000", 503,
        "the identity token carries critical header parameters that are not understood",
        "use an issuer that does not set `crit` (RFC 7515, section 4.1.11)" }
    /// No published key has the token's key id.
    TokenUnknownKey { "token-unknown-key", Identity, "28000", 503,
        "the identity token is signed with a key that the issuer does not publish",
        "check that identities[].jwks_uri belongs to the token's issuer" }
    /// The signature does not verify.
    TokenSignature { "token-signature", Identity, "28000", 503,
        "the signature of the identity token does not verify",
        "the token was altered, or the issuer's published key is not the one that signed it" }
    /// A required claim is missing or has the wrong shape.
    TokenClaims { "token-claims", Identity, "28000", 503,
        "the identity token lacks a claim that is needed",
        "a Kubernetes token needs sub `system:serviceaccount:<namespace>:<name>`, iss, aud and exp; others what identities[].labels_from_claims names" }
    /// The Workload API has no identity for this workload, yet.
    IdentityNotIssued { "identity-not-issued", Identity, "28000", 503,
        "the SPIFFE Workload API has no identity for this workload",
        "register the workload: the selectors of its entry must fit this process; a new entry takes some seconds to arrive" }
    /// The Workload API no longer has an identity for this workload.
    IdentityWithdrawn { "identity-withdrawn", Identity, "28000", 503,
        "the identity of this workload was withdrawn",
        "its registration entry is gone; what was exchanged for the identity is not used any more" }
    /// The Workload API does not answer.
    WorkloadApi { "workload-api-unreachable", Identity, "28000", 503,
        "the SPIFFE Workload API cannot be reached",
        "check that the agent runs and that its socket is mounted where identities[].endpoint_socket or SPIFFE_ENDPOINT_SOCKET says" }
    /// GitHub gives the job no token, or AWS the role.
    TokenNotMinted { "token-not-minted", Identity, "28000", 503,
        "whoever makes this workload's identity tokens gives it none",
        "a GitHub job needs `permissions: { id-token: write }`; an IAM role needs sts:GetWebIdentityToken, in an account with outbound web identity federation; the log has what was answered" }
    /// The file with the workload's labels cannot be used.
    LabelsUnreadable { "labels-unreadable", Identity, "28000", 503,
        "the workload's labels cannot be read",
        "check that the downward API volume is mounted where identities[].labels_file says" }
    /// Discovery document or keys could not be fetched.
    IssuerUnreachable { "issuer-unreachable", Identity, "28000", 503,
        "the token issuer cannot be reached",
        "check the network path and the certificate authority of identities[].issuer" }
    /// The issuer's documents are not what the specification says.
    IssuerInvalid { "issuer-invalid", Identity, "28000", 503,
        "the token issuer's documents cannot be used",
        "open <issuer>/.well-known/openid-configuration and compare its issuer and jwks_uri with the configuration" }

    /// The token endpoint or certificate authority said no.
    ExchangeRefused { "exchange-refused", Exchange, "28000", 503,
        "the credential exchange was refused",
        "the log has the OAuth error code; check the trust that the issuer of credentials has in this identity" }
    /// The token endpoint or certificate authority did not answer.
    ExchangeUnreachable { "exchange-unreachable", Exchange, "28000", 503,
        "the credential exchange cannot be reached",
        "check the network path and the certificate authority of the exchange's address" }
    /// The answer of an exchange is not usable.
    ExchangeInvalid { "exchange-invalid", Exchange, "28000", 503,
        "the credential exchange gave an unusable answer",
        "check that the exchange's settings name the right endpoint" }

    /// A file or key of ours that the exchange needs cannot be used.
    ExchangeUnprepared { "exchange-unprepared", Exchange, "28000", 503,
        "the credential exchange lacks something that it needs on this side",
        "the log names the file or setting; check that it is mounted and fit for its purpose" }

    /// The warehouse cannot be reached.
    TargetUnreachable { "target-unreachable", Target, "08001", 502,
        "the warehouse cannot be reached",
        "check targets[].host and port, DNS and network policy" }
    /// TLS to the warehouse failed.
    TargetTls { "target-tls", Target, "08001", 502,
        "TLS to the warehouse failed",
        "check targets[].tls: the certificate authority and the name in the warehouse's certificate" }
    /// The warehouse refused the login.
    TargetLogin { "target-login", Target, "28000", 502,
        "the warehouse refused the proxy's login",
        "check the warehouse's own rules for the role (pg_hba.conf, pg_ident.conf) against the credential in the log" }
    /// The warehouse sent something that the protocol does not allow.
    TargetProtocol { "target-protocol", Target, "08P01", 502,
        "the warehouse sent a message that the protocol does not allow here",
        "check that targets[].kind is right for this server" }
    /// The warehouse went away.
    TargetClosed { "target-closed", Target, "08006", 502,
        "the warehouse closed the connection",
        "see the warehouse's own log" }

    /// The audit log cannot promise durability.
    AuditUnwritable { "audit-unwritable", Audit, "58030", 503,
        "the audit log cannot be written, so nothing may run",
        "free or repair the disk under audit.directory; queries resume by themselves" }
    /// Too many queries are in flight.
    AuditBackpressure { "audit-backpressure", Audit, "53000", 503,
        "too many queries wait for the audit log",
        "raise audit.queries_in_flight_max or use a faster disk" }

    /// The proxy is shutting down.
    Draining { "draining", Tollhouse, "57P01", 503,
        "the proxy is shutting down",
        "reconnect to another instance, or wait for the restart" }
    /// A bug of ours; the session ends, others go on.
    Internal { "internal", Tollhouse, "XX000", 500,
        "an internal error of the proxy ended this session",
        "please report it with the log lines around this record" }
}

impl Reason {
    /// The stable code, as in records and metrics.
    pub fn code(self) -> &'static str {
        self.row().code
    }
}

/// A [`Reason`] together with what we know of this case.
///
/// `Display` is what a client may see: the reason's sentence and `about`. The source chain is for the log only.
#[derive(Debug)]
pub struct Fault {
    /// Why.
    pub reason: Reason,
    /// Safe identifiers of our own making (a limit's name, a host, a rule); never a peer's text or a secret.
    pub about: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault with nothing more to say than its reason.
    pub fn new(reason: Reason) -> Self {
        Self { reason, about: None, source: None }
    }

    /// Adds identifiers that the client may see.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = Some(about.into());
        self
    }

    /// Adds the cause, for the log.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The whole chain of causes on one line, for the log; never for a client.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut next: Option<&(dyn Error + 'static)> = self.source.as_deref().map(|e| e as _);
        while let Some(error) = next {
            line.push_str(": ");
            line.push_str(&error.to_string());
            next = error.source();
        }
        line
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.row().told)?;
        match &self.about {
            Some(about) => write!(f, " ({about})"),
            None => Ok(()),
        }
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Fault, Reason};
    use crate::golden::expect_file;

    #[test]
    fn codes_are_unique_and_sqlstates_have_five_characters() {
        let mut seen = HashSet::new();
        for reason in Reason::ALL {
            let row = reason.row();
            assert!(seen.insert(row.code), "{} stands twice", row.code);
            assert_eq!(row.sqlstate.len(), 5, "{}", row.code);
        }
    }

    #[test]
    fn the_published_table_is_current() {
        let mut page = String::from(
            "# Reason codes\n\nEvery refusal and failure carries one of these codes: in the client's error detail, in the audit \
             record, in the log and in\n`tollhouse_refusals_total{reason=...}`. The codes are stable. This page is generated from \
             `src/fault.rs` (`make schema`).\n\n| code | whose | SQLSTATE | HTTP | the client is told | remedy |\n|---|---|---|---|---|---|\n",
        );
        for reason in Reason::ALL {
            let row = reason.row();
            let (code, blame, sqlstate, http) = (row.code, row.blame.as_str(), row.sqlstate, row.http_status);
            page.push_str(&format!("| `{code}` | {blame} | {sqlstate} | {http} | {} | {} |\n", row.told, row.remedy.replace('|', "\\|")));
        }
        expect_file("docs/REASONS.md", &page);
    }

    #[test]
    fn the_cause_is_in_the_chain_and_not_in_what_the_client_sees() {
        let fault = Fault::new(Reason::TargetUnreachable).about("warehouse").because("connection refused");
        assert_eq!(fault.to_string(), "the warehouse cannot be reached (warehouse)");
        assert_eq!(fault.chain(), "the warehouse cannot be reached (warehouse): connection refused");
    }
}
