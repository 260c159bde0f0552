//! The only place that builds TLS configurations.
//!
//! One provider (aws-lc-rs), TLS 1.2 and 1.3, server certificates always verified in full: there is no "skip verification".

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::tls::binding::server_end_point;
use crate::tls::file::{Fresh, certificates, private_key};
use crate::tls::stream::Stream;

mod binding;
pub(crate) mod file;
pub mod stream;

/// Organization in the subject of every certificate that `tollhouse dev` makes; refused outside development.
pub const DEVELOPMENT_ORGANIZATION: &str = "Tollhouse NOT FOR PRODUCTION";

/// Makes aws-lc-rs the provider of every library in this process that asks rustls for its default.
///
/// Belongs first in `main`; calling it again changes nothing.
pub fn install() {
    // An error only says that somebody was first, which is us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Whether certificates that `tollhouse dev` made may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// They are refused.
    Production,
    /// They are accepted: the configuration says `development: true`.
    Development,
}

/// How a server is reached and verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClientSettings {
    /// How much of TLS is used.
    pub mode: Mode,
    /// PEM bundle of the certificate authorities to trust; the system's are used where this is absent.
    /// Read again whenever the file changes.
    pub ca: Option<PathBuf>,
    /// The name that the server's certificate must carry, where it is not the host that is connected to.
    pub server_name: Option<String>,
}

/// How much of TLS is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// TLS with chain and name verified.
    #[default]
    VerifyFull,
    /// No TLS: for sockets that never leave the machine.
    Disable,
}

/// A TLS client, or the decision to do without.
#[derive(Debug)]
pub struct Client {
    mode: Mode,
    alpn: Alpn,
    server_name: Option<ServerName<'static>>,
    roots: Roots,
}

/// What a client says in ALPN (RFC 7301).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Alpn {
    /// Nothing.
    #[default]
    Unsaid,
    /// One protocol: a server that does not choose it is not connected to.
    Demanded(&'static [u8]),
    /// Several, the best first: a server may choose one of them, or none.
    Offered(&'static [&'static [u8]]),
}

/// What the client proves itself with.
#[derive(Debug, Clone, Copy)]
pub struct ClientAuth<'a> {
    /// Leaf first.
    pub chain: &'a [CertificateDer<'static>],
    /// The leaf's key.
    pub key: &'a PrivateKeyDer<'static>,
}

impl Client {
    /// A client as the settings say. Reads the certificate authorities.
    ///
    /// # Errors
    /// When the bundle cannot be used, holds a development certificate that `trust` does not allow, or the name is not one.
    pub fn new(settings: &ClientSettings, trust: Trust) -> Result<Self, TlsError> {
        Self::speaking(settings, Alpn::Unsaid, trust)
    }

    /// The same, with something said in ALPN.
    ///
    /// # Errors
    /// As for [`Client::new`].
    pub fn speaking(settings: &ClientSettings, alpn: Alpn, trust: Trust) -> Result<Self, TlsError> {
        let server_name = settings.server_name.clone().map(parse_name).transpose()?;
        let roots = match (settings.mode, &settings.ca) {
            (Mode::Disable, _) => Roots::None,
            (Mode::VerifyFull, Some(path)) => Roots::File(Fresh::new(vec![path.clone()], (path.clone(), trust), read_roots)?),
            (Mode::VerifyFull, None) => Roots::System(Arc::new(system_roots()?)),
        };
        Ok(Self { mode: settings.mode, alpn, server_name, roots })
    }

    /// How much of TLS this client uses.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The configuration for one connection.
    ///
    /// It is new each time, so that no session is resumed under another client's certificate.
    ///
    /// # Errors
    /// When the changed bundle cannot be used, the key does not fit the certificate, or the mode is [`Mode::Disable`].
    pub fn config(&self, client_auth: Option<ClientAuth<'_>>) -> Result<Arc<ClientConfig>, TlsError> {
        let roots = match &self.roots {
            Roots::None => return Err(TlsError::Disabled),
            Roots::System(roots) => Arc::clone(roots),
            Roots::File(fresh) => fresh.get()?,
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Configuration)?
            .with_root_certificates(roots);
        let mut config = match client_auth {
            None => builder.with_no_client_auth(),
            Some(auth) => builder.with_client_auth_cert(auth.chain.to_vec(), auth.key.clone_key()).map_err(TlsError::Configuration)?,
        };
        match self.alpn {
            Alpn::Unsaid => {}
            Alpn::Demanded(protocol) => config.alpn_protocols.push(protocol.to_vec()),
            Alpn::Offered(protocols) => config.alpn_protocols.extend(protocols.iter().map(|protocol| protocol.to_vec())),
        }
        Ok(Arc::new(config))
    }

    /// Does the handshake with `host` over a connected socket; without TLS the socket comes back as it is.
    ///
    /// Has no time limit of its own. Dropping the future closes the socket.
    ///
    /// # Errors
    /// When the handshake fails, the server chooses another protocol or none, or a client certificate is to be shown without TLS.
    pub async fn connect(&self, socket: TcpStream, host: &str, client_auth: Option<ClientAuth<'_>>) -> Result<Stream, TlsError> {
        if self.mode == Mode::Disable && client_auth.is_none() {
            return Ok(Stream::Plain(socket));
        }
        let config = self.config(client_auth)?;
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => parse_name(host.to_owned())?,
        };
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, socket).await.map_err(TlsError::Handshake)?;
        let stream = Stream::Client(Box::new(stream));
        match self.alpn {
            Alpn::Demanded(protocol) if stream.protocol() != Some(protocol) => Err(TlsError::Protocol),
            Alpn::Demanded(_) | Alpn::Offered(_) | Alpn::Unsaid => Ok(stream),
        }
    }
}

/// The certificate and key that a server shows; both are read again whenever one changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key (PKCS#8, SEC 1 or PKCS#1).
    pub key: PathBuf,
}

/// What a server asks of its clients, beyond TLS itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demands {
    /// PEM bundle of the authorities whose client certificates are verified. A client without one is let through, and
    /// [`Stream::peer_certificate`] tells; one with another's is not. Read again whenever the file changes.
    pub client_ca: Option<PathBuf>,
    /// The protocols in ALPN (RFC 7301), the best first; none where it is not spoken of. A client that offers only others is not
    /// let through.
    pub protocols: &'static [&'static [u8]],
}

/// A TLS server.
#[derive(Debug)]
pub struct Acceptor {
    made: Fresh<(ServerSettings, Demands, Trust), Made>,
}

impl Acceptor {
    /// A server as the settings say, which asks nothing of its clients. Reads certificate and key.
    ///
    /// # Errors
    /// When a file cannot be used, they do not fit each other, or the certificate is one that `trust` does not allow.
    pub fn new(settings: &ServerSettings, trust: Trust) -> Result<Self, TlsError> {
        Self::demanding(settings, Demands::default(), trust)
    }

    /// A server as the settings say. Reads certificate, key and authorities.
    ///
    /// # Errors
    /// As for [`Acceptor::new`].
    pub fn demanding(settings: &ServerSettings, demands: Demands, trust: Trust) -> Result<Self, TlsError> {
        let files = [&settings.certificate, &settings.key].into_iter().chain(&demands.client_ca).cloned().collect();
        Ok(Self { made: Fresh::new(files, (settings.clone(), demands, trust), read_server)? })
    }

    /// Does the handshake over an accepted socket.
    ///
    /// Has no time limit of its own. Dropping the future closes the socket. Changed files that cannot be used are
    /// logged, and the last good ones stay: the certificate proves who we are until it expires.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn accept(&self, socket: TcpStream) -> Result<Stream, TlsError> {
        let made = self.made.get_or_last_good();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&made.config));
        let stream = acceptor.accept(socket).await.map_err(TlsError::Handshake)?;
        Ok(Stream::Server(Box::new(stream), made.end_point.clone()))
    }
}

/// Why TLS cannot be used. Names files and hosts, never what is in a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file does not hold what it should.
    #[error("{} holds no usable {wanted}", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The certificate is one that `tollhouse dev` made.
    #[error("{} holds a certificate of `{DEVELOPMENT_ORGANIZATION}`; it is accepted only with `development: true`", path.display())]
    NotForProduction {
        /// Which file.
        path: PathBuf,
    },
    /// The system trusts nobody.
    #[error("the system has no certificate authorities; name a bundle with `ca`")]
    NoSystemRoots,
    /// What should be a DNS name or an address is neither.
    #[error("`{name}` is neither a DNS name nor an address")]
    Name {
        /// The text.
        name: String,
        /// Why.
        #[source]
        source: InvalidDnsNameError,
    },
    /// TLS is needed and switched off.
    #[error("TLS is needed here, and the mode is `disable`")]
    Disabled,
    /// Certificate and key do not go together, or rustls refuses them.
    #[error("certificate and key cannot be used")]
    Configuration(#[source] rustls::Error),
    /// Client certificates cannot be verified with these authorities.
    #[error("client certificates cannot be verified")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// The handshake failed.
    #[error("the TLS handshake failed")]
    Handshake(#[source] std::io::Error),
    /// The server did not choose the protocol that it was offered.
    #[error("the server does not speak the protocol at once behind TLS")]
    Protocol,
}

/// What is made of a server's files.
#[derive(Debug)]
struct Made {
    config: Arc<ServerConfig>,
    /// `tls-server-end-point` of the certificate.
    end_point: Option<Arc<[u8]>>,
}

/// Whom a client trusts.
#[derive(Debug)]
enum Roots {
    None,
    System(Arc<RootCertStore>),
    File(Fresh<(PathBuf, Trust), RootCertStore>),
}

/// A certificate chain, leaf first, and its key, from their files as they are now.
///
/// # Errors
/// When a file cannot be used, or holds a certificate that `trust` does not allow.
pub fn read_identity(files: &ServerSettings, trust: Trust) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    Ok((certificates(&files.certificate, trust)?, private_key(&files.key)?))
}

/// The subject of a certificate as RFC 4514 writes it (`CN=dbt, O=Shop`), for records.
pub fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.subject().to_string())
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn parse_name(name: String) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.clone()).map_err(|source| TlsError::Name { name, source })
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoSystemRoots) } else { Ok(roots) }
}

fn read_roots((path, trust): &(PathBuf, Trust)) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, *trust)? {
        roots.add(certificate).map_err(|_| TlsError::Unusable { path: path.clone(), wanted: "certificate authority" })?;
    }
    Ok(roots)
}

fn read_server((settings, demands, trust): &(ServerSettings, Demands, Trust)) -> Result<Made, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(TlsError::Configuration)?;
    let builder = match &demands.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(read_roots(&(path.clone(), *trust))?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(TlsError::Verifier)?)
        }
    };
    let chain = certificates(&settings.certificate, *trust)?;
    let end_point = chain.first().and_then(server_end_point).map(Arc::from);
    let mut config = builder.with_single_cert(chain, private_key(&settings.key)?).map_err(TlsError::Configuration)?;
    config.alpn_protocols = demands.protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Made { config: Arc::new(config), end_point })
}
