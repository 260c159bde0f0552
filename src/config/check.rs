//! Checks what a schema cannot: that names resolve, that addresses are where they must be, that files can be used.

use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::{Config, File, Route, TargetFile};
use crate::credential::LoginKind;
use crate::document::{Problem, nearest};
use crate::identity::{ACTOR_LABEL, SUBJECT_LABEL, SettingsError};
use crate::listener::{Authentication, Settings as Listener, TlsMode};
use crate::target::{Opening, Target};
use crate::tls::{Acceptor, Client, Demands, Mode, Trust};
use crate::warehouse::postgres::{Method, Negotiation};
use crate::warehouse::{KINDS, Kind, Protocol, kind};
use crate::{credential, identity};

/// Checks a file as a whole.
pub(super) fn check(name: &str, file: File) -> Result<Config, Vec<Problem>> {
    let trust = if file.development { Trust::Development } else { Trust::Production };
    let mut check = Check { name, file: &file, trust, problems: Vec::new() };
    check.names();
    check.numbers();
    check.admin();
    check.identities();
    let kinds = check.targets();
    let routes = check.routes(&kinds);
    let problems = check.problems;
    if !problems.is_empty() {
        return Err(problems);
    }
    let digest = digest_of(&file).map_err(|message| vec![Problem::at(name, "", message)])?;
    Ok(Config { routes, trust, digest, file })
}

struct Check<'a> {
    name: &'a str,
    file: &'a File,
    trust: Trust,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::at(self.name, &path.into(), message));
    }

    fn names(&mut self) {
        let targets: Vec<_> = self.file.targets.iter().map(|target| target.name.clone()).collect();
        let identities: Vec<_> = self.file.identities.iter().map(|identity| identity.name().to_owned()).collect();
        let listeners: Vec<_> = self.file.listeners.iter().map(|listener| listener.name().to_owned()).collect();
        for (list, names) in [("targets", targets), ("identities", identities), ("listeners", listeners)] {
            if names.is_empty() {
                self.problem(list, "at least one is needed");
            }
            let mut seen = HashSet::new();
            for (index, name) in names.iter().enumerate() {
                if !seen.insert(name) {
                    self.problem(format!("{list}[{index}].name"), format!("the name `{name}` stands twice"));
                }
            }
        }
    }

    fn numbers(&mut self) {
        let limits = &self.file.limits;
        let zero = [
            ("limits.connections_max", limits.connections_max == 0),
            ("limits.message_size", limits.message_size.0 == 0),
            ("limits.statement_size", limits.statement_size.0 == 0),
            ("limits.nesting_max", limits.nesting_max == 0),
            ("limits.prepared_statements_max", limits.prepared_statements_max == 0),
            ("limits.handshake_timeout", limits.handshake_timeout.0.is_zero()),
            ("limits.connect_timeout", limits.connect_timeout.0.is_zero()),
            ("limits.idle_timeout", limits.idle_timeout.0.is_zero()),
            ("limits.session_age_max", limits.session_age_max.is_some_and(|age| age.0.is_zero())),
            ("policy.reload_interval", self.file.policy.reload_interval.0.is_zero()),
        ];
        for (path, is_zero) in zero {
            if is_zero {
                self.problem(path, "must not be zero");
            }
        }
        if self.file.policy.paths.is_empty() {
            self.problem("policy.paths", "at least one file or directory is needed");
        }
        if let Err(error) = self.file.log.check() {
            self.problem("log.level", format!("cannot be understood: {error}"));
        }
    }

    fn admin(&mut self) {
        let admin = &self.file.admin;
        if !admin.loopback_address.ip().is_loopback() {
            self.problem("admin.loopback_address", "must be a loopback address: it shows configuration and stops the program");
        }
        if admin.address == admin.loopback_address && admin.address.port() != 0 {
            self.problem("admin.loopback_address", "must differ from admin.address");
        }
    }

    fn identities(&mut self) {
        for (index, settings) in self.file.identities.iter().enumerate() {
            let place = format!("identities[{index}]");
            let made = if settings.proves_workload() {
                identity::source(settings, self.trust).map(|_| ())
            } else {
                identity::client::Verifier::new(settings, self.trust).map(|_| ())
            };
            match made {
                Ok(()) => {}
                Err(SettingsError::Tls(error)) => self.problem(format!("{place}.tls"), chain(&error)),
                Err(error) => self.problem(place.as_str(), chain(&error)),
            }
            for label in settings.configured_labels().filter(|label| [SUBJECT_LABEL, ACTOR_LABEL].contains(label)) {
                self.problem(place.as_str(), format!("the label `{label}` comes from the token alone"));
            }
        }
    }

    fn targets(&mut self) -> Vec<Option<&'static Kind>> {
        let file = self.file;
        file.targets.iter().enumerate().map(|(index, target)| self.target(index, target)).collect()
    }

    fn target(&mut self, index: usize, target: &TargetFile) -> Option<&'static Kind> {
        let place = format!("targets[{index}]");
        let found = kind(&target.kind);
        if found.is_none() {
            let words = KINDS.iter().map(|kind| kind.name);
            self.problem(format!("{place}.kind"), unknown("kind", &target.kind, words));
        }
        if let Err(error) = Client::new(&target.tls, self.trust) {
            self.problem(format!("{place}.tls"), chain(&error));
        }
        if target.tls_negotiation == Negotiation::Direct && target.tls.mode == Mode::Disable {
            self.problem(format!("{place}.tls_negotiation"), "`direct` needs TLS, and `tls.mode` disables it");
        }
        if let (Some(kind), Some(methods)) = (found, &target.authentication_methods) {
            self.methods(&format!("{place}.authentication_methods"), kind, methods);
        }
        if let Some(kind) = found {
            self.login_parameters(&format!("{place}.login_parameters"), kind, target);
        }
        match (credential::exchange(&target.credential, &target.role, self.trust), found) {
            (Err(error), _) => self.problem(format!("{place}.credential[{}]", error.step), chain(&error.problem)),
            (Ok(_), Some(kind)) => self.login(&place, kind, target),
            (Ok(_), None) => {}
        }
        self.workload(&place, target);
        found
    }

    /// Whether the kind, and one of the ways to log in that are left of it, can use what the last step makes.
    fn login(&mut self, place: &str, kind: &Kind, target: &TargetFile) {
        let Some(last) = target.credential.last() else { return };
        let (Some(login), step) = (last.login(), last.signature().kind) else { return };
        let place = format!("{place}.credential[{}]", target.credential.len().saturating_sub(1));
        let any_of = |logins: &[LoginKind]| logins.iter().map(LoginKind::to_string).collect::<Vec<_>>().join(", ");
        if !kind.logins.contains(&login) {
            self.problem(
                place,
                format!("`{step}` makes {login}, and a target of kind `{}` takes one of: {}", kind.name, any_of(kind.logins)),
            );
        } else if let Some(methods) = &target.authentication_methods
            // TLS shows a certificate, whatever the server asks for afterwards.
            && login != LoginKind::ClientCertificate
            && !methods.is_empty()
            && !methods.iter().any(|method| method.logins().contains(&login))
        {
            self.problem(place, format!("`{step}` makes {login}, which none of `authentication_methods` shows"));
        }
    }

    /// A target needs an identity of the workload unless each of its listeners takes the clients' own.
    fn workload(&mut self, place: &str, target: &TargetFile) {
        let place = format!("{place}.identity");
        let is_needed = self
            .file
            .listeners
            .iter()
            .any(|listener| listener.target == target.name && client_identity(&listener.authentication).is_none());
        let candidates = self.file.identities.iter().filter(|identity| identity.proves_workload()).count();
        match &target.identity {
            Some(name) => {
                self.identity(&place, name, identity::Settings::proves_workload, "proves nothing of the workload: it has no token")
            }
            None if is_needed && candidates > 1 => self.problem(place, "must say which, because there are several identities"),
            None if is_needed && candidates == 0 => self.problem(place, "there is no identity with a token of the workload"),
            None => {}
        }
    }

    /// Whether a name is that of an identity, and of one that `fits`.
    fn identity(&mut self, place: &str, name: &str, fits: fn(&identity::Settings) -> bool, unfit: &str) {
        match self.file.identities.iter().find(|identity| identity.name() == name) {
            Some(found) if !fits(found) => self.problem(place, format!("`{name}` {unfit}")),
            Some(_) => {}
            None => {
                let words = self.file.identities.iter().map(identity::Settings::name);
                self.problem(place, unknown("identity", name, words));
            }
        }
    }

    fn methods(&mut self, place: &str, kind: &Kind, methods: &[Method]) {
        if methods.is_empty() {
            self.problem(place, "with none, no login would succeed");
        }
        for method in methods.iter().filter(|method| !methods_of(kind).contains(method)) {
            self.problem(place, format!("the kind `{}` has no `{}`", kind.name, method.as_str()));
        }
    }

    fn login_parameters(&mut self, place: &str, kind: &Kind, target: &TargetFile) {
        let known = match kind.protocol {
            Protocol::Postgres(flavor) => flavor.login_parameters,
            Protocol::Http(_) => &[],
        };
        for name in target.login_parameters.keys().filter(|name| !known.contains(&name.as_str())) {
            let words = known.iter().copied();
            self.problem(place, unknown("parameter", name, words));
        }
    }

    fn routes(&mut self, kinds: &[Option<&'static Kind>]) -> Vec<Route> {
        let file = self.file;
        let mut routes = Vec::new();
        for (index, listener) in file.listeners.iter().enumerate() {
            let place = format!("listeners[{index}]");
            self.listener(&place, listener);
            let found = file.targets.iter().zip(kinds).find(|(target, _)| target.name == listener.target);
            match found {
                Some((target, Some(kind))) => {
                    if let Some(message) = unseen(kind, &listener.authentication) {
                        self.problem(format!("{place}.authentication"), message);
                    }
                    let route = self.route(listener, target, kind);
                    route.iter().for_each(|route| self.credential_of(route));
                    routes.extend(route);
                }
                Some((_, None)) => {}
                None => {
                    let words = file.targets.iter().map(|target| target.name.as_str());
                    self.problem(format!("{place}.target"), unknown("target", &listener.target, words));
                }
            }
        }
        routes
    }

    fn listener(&mut self, place: &str, listener: &Listener) {
        if let Some(message) = misplaced(listener) {
            self.problem(format!("{place}.authentication"), message);
        }
        if let Some(name) = client_identity(&listener.authentication) {
            let place = format!("{place}.authentication.identity");
            let unfit = "has a token of the workload, whose labels a client must not get; name one without";
            self.identity(&place, name, |identity| !identity.proves_workload(), unfit);
        }
        let Some(tls) = &listener.tls else { return };
        if listener.address.tcp().is_none() {
            self.problem(
                format!("{place}.tls"),
                "is for TCP: a Unix-domain socket never leaves the machine, and no client asks for TLS there",
            );
        }
        let demands = Demands { client_ca: tls.client_ca.clone(), ..Demands::default() };
        if let Err(error) = Acceptor::demanding(&tls.files, demands, self.trust) {
            self.problem(format!("{place}.tls"), chain(&error));
        }
    }

    /// A certificate goes to the warehouse as it is; every other step needs a token, or nothing of the identity.
    fn credential_of(&mut self, route: &Route) {
        let shows_certificate = matches!(route.credential.as_slice(), [credential::Step::X509Svid {}]);
        let place = self.file.targets.iter().position(|target| target.name == route.target.name).unwrap_or_default();
        let (identity, place) = (route.identity.name(), format!("targets[{place}].credential"));
        if shows_certificate && !route.identity.has_certificate() {
            self.problem(place, format!("`x509_svid` needs an identity of kind `spiffe` with `svid: x509`, and `{identity}` is none"));
        } else if !shows_certificate && route.identity.has_certificate() {
            self.problem(place, format!("`{identity}` is a certificate and has no token to exchange: the only step is `x509_svid`"));
        }
    }

    fn route(&self, listener: &Listener, target: &TargetFile, kind: &'static Kind) -> Option<Route> {
        let mut identities = self.file.identities.iter();
        let identity = match client_identity(&listener.authentication).or(target.identity.as_deref()) {
            Some(name) => identities.find(|identity| identity.name() == name)?,
            None => identities.find(|identity| identity.proves_workload())?,
        };
        Some(Route {
            listener: listener.clone(),
            target: Arc::new(Target {
                name: target.name.clone(),
                kind: kind.name,
                host: target.host.clone(),
                port: target.port.unwrap_or(kind.default_port),
                opening: match (&kind.protocol, target.tls_negotiation, target.tls.mode) {
                    (Protocol::Postgres(_), Negotiation::Direct, _) | (Protocol::Http(_), _, Mode::VerifyFull) => Opening::Tls,
                    (Protocol::Postgres(_), Negotiation::Postgres, _) | (Protocol::Http(_), _, Mode::Disable) => Opening::Plain,
                },
            }),
            kind,
            role: target.role.clone(),
            tls: target.tls.clone(),
            negotiation: target.tls_negotiation,
            methods: target.authentication_methods.clone().unwrap_or_else(|| methods_of(kind).to_vec()),
            login_parameters: target.login_parameters.clone(),
            identity: identity.clone(),
            credential: target.credential.clone(),
        })
    }
}

fn methods_of(kind: &Kind) -> &'static [Method] {
    match kind.protocol {
        Protocol::Postgres(flavor) => flavor.methods,
        Protocol::Http(_) => &[],
    }
}

/// Why a listener's way to let clients in does not go with its address or TLS.
fn misplaced(listener: &Listener) -> Option<&'static str> {
    let demands_tls = listener.tls.as_ref().is_some_and(|tls| tls.mode == TlsMode::Require);
    let demands_certificates = demands_tls && listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    match &listener.authentication {
        Authentication::Trust if !listener.address.is_local() => {
            Some("`trust` lets everybody in who reaches the address, so it must be a loopback address or a Unix-domain socket; use `scram`")
        }
        Authentication::Certificate if !demands_certificates => Some("`certificate` needs `tls` with `mode: require` and `client_ca`"),
        Authentication::Peer { .. } if listener.address.tcp().is_some() => Some("`peer` needs a Unix-domain socket as the address"),
        Authentication::Peer { uids } if uids.is_empty() => Some("`peer` with no `uids` would let nobody in"),
        Authentication::Token { .. } if !listener.address.is_local() && !demands_tls => {
            Some("`token` shows the token in clear, so it needs `tls` with `mode: require`, a loopback address or a Unix-domain socket")
        }
        Authentication::Trust
        | Authentication::Certificate
        | Authentication::Peer { .. }
        | Authentication::Scram { .. }
        | Authentication::Token { .. } => None,
    }
}

/// Why clients of that kind of warehouse cannot be let in in that way.
fn unseen(kind: &Kind, authentication: &Authentication) -> Option<&'static str> {
    match (&kind.protocol, authentication) {
        (Protocol::Http(_), Authentication::Scram { .. }) => Some("`scram` is a login of PostgreSQL's protocol; use `token` over HTTP"),
        (Protocol::Http(warehouse), Authentication::Token { .. }) if !warehouse.takes_clients_tokens() => {
            Some("clients of this kind of warehouse show a token only once, at their login; use `trust`, `peer` or `certificate`")
        }
        _ => None,
    }
}

/// The identity that verifies the clients' own tokens, where they have to show some.
fn client_identity(authentication: &Authentication) -> Option<&str> {
    match authentication {
        Authentication::Token { identity } => Some(identity),
        Authentication::Trust | Authentication::Certificate | Authentication::Peer { .. } | Authentication::Scram { .. } => None,
    }
}

fn unknown<'w>(what: &str, typed: &str, words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<_> = words.collect();
    match nearest(typed, words.iter().copied()) {
        Some(word) => format!("unknown {what} `{typed}`; did you mean `{word}`?"),
        None => format!("unknown {what} `{typed}`; there are: {}", words.join(", ")),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        next = cause.source();
    }
    line
}

fn digest_of(file: &File) -> Result<String, String> {
    use std::fmt::Write;
    let bytes = serde_json::to_vec(file).map_err(|error| format!("no digest can be made: {error}"))?;
    let mut text = String::from("sha256:");
    for byte in digest::digest(&digest::SHA256, &bytes).as_ref() {
        write!(text, "{byte:02x}").map_err(|error| error.to_string())?;
    }
    Ok(text)
}
