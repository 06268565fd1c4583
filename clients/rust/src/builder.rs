//! How a client reaches its server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tonic::Code;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
#[cfg(feature = "tls")]
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::client::Client;
use crate::connection::{Bearer, Connection};
use crate::error::Error;

const TIMEOUT: Duration = Duration::from_secs(60);
const RECEIVE_BYTES: usize = 64 << 20;
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);
/// The limit of other gRPC clients; without it a connection to a host that is silent takes minutes to fail.
const CONNECT: Duration = Duration::from_secs(20);

/// Sets up a [`Client`].
#[derive(Clone)]
pub struct ClientBuilder {
    address: String,
    token: Option<String>,
    timeout: Option<Duration>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl ClientBuilder {
    pub(crate) fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            token: None,
            timeout: Some(TIMEOUT),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Sends `authorization: Bearer TOKEN` with every call.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The time of a call, 60 s unless set; `None`: calls wait for ever. See [`Client::with_timeout`].
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Encrypts the connection. Without it, the connection is plain.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Makes the client. It connects with the first call, and again when the connection is lost.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): the address is not `HOST:PORT`, the token holds a
    /// character that no header takes, or a certificate or key cannot be read.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn build(self) -> Result<Client, Error> {
        let invalid = |what: &str| Error::new(Code::InvalidArgument, what);
        let bearer = match &self.token {
            Some(token) => {
                let value = MetadataValue::try_from(format!("Bearer {token}"));
                let mut value = value.map_err(|_| {
                    invalid(
                        "the token holds a character that no header takes, such as a line's end",
                    )
                })?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        #[cfg(feature = "tls")]
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        #[cfg(not(feature = "tls"))]
        let scheme = "http";
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.address))
            .ok()
            .filter(|endpoint| {
                let uri = endpoint.uri();
                uri.port_u16().is_some() && matches!(uri.path(), "" | "/")
            })
            .ok_or_else(|| invalid("the address is not HOST:PORT"))?
            .user_agent(concat!("gemwire-rust/", env!("CARGO_PKG_VERSION")))
            .map_err(|_| invalid("the name of this client is no header"))?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_ANSWER);
        #[cfg(feature = "tls")]
        let endpoint = match self.tls {
            Some(tls) => tls.apply(endpoint)?,
            None => endpoint,
        };
        let connection = Connection::new(endpoint.connect_lazy(), Bearer(bearer), RECEIVE_BYTES);
        Ok(Client::over(Arc::new(connection), self.timeout))
    }
}

/// Shows everything but the token and the keys.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("address", &self.address)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The certificates of an encrypted connection, as PEM. The server's must name the host of the address.
#[cfg(feature = "tls")]
#[derive(Clone)]
pub struct Tls {
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

#[cfg(feature = "tls")]
impl Tls {
    /// Trusts the authorities that the system trusts.
    pub fn system() -> Self {
        Self { ca: None, identity: None }
    }

    /// Trusts these authorities alone: the contents of a CA file.
    pub fn ca(pem: impl Into<Vec<u8>>) -> Self {
        Self { ca: Some(pem.into()), identity: None }
    }

    /// Shows a certificate to the server, with its key.
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    fn apply(self, endpoint: Endpoint) -> Result<Endpoint, Error> {
        let invalid = |what: String| Error::new(Code::InvalidArgument, what);
        let mut config = ClientTlsConfig::new();
        config = match self.ca {
            // rustls takes a file without certificates, and then trusts no server.
            Some(pem) if !holds_certificate(&pem) => {
                return Err(invalid("the CA file holds no certificate".to_owned()));
            }
            Some(pem) => config.ca_certificate(Certificate::from_pem(pem)),
            None => config.with_native_roots(),
        };
        if let Some((certificate, key)) = self.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        endpoint
            .tls_config(config)
            .map_err(|_| invalid("a certificate or key cannot be read".to_owned()))
    }
}

#[cfg(feature = "tls")]
fn holds_certificate(pem: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    pem.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// Shows nothing of the key.
#[cfg(feature = "tls")]
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn addresses_are_host_and_port() {
        for address in ["127.0.0.1:50051", "[::1]:1", "a.example:443"] {
            assert!(Client::new(address).is_ok(), "{address}");
        }
        for address in ["", "localhost", "http://a:1", "a:1/b", "a b:1", "a:99999", "unix:/a"] {
            let error = Client::new(address).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{address}");
        }
    }

    #[tokio::test]
    async fn a_token_is_a_header() {
        assert!(Client::builder("a:1").token("abc").build().is_ok());
        let error = Client::builder("a:1").token("a\nb").build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    #[cfg(feature = "tls")]
    #[tokio::test]
    async fn files_that_hold_no_certificate_are_refused() {
        let no_key = Tls::system().identity("", "");
        for tls in [Tls::ca(""), Tls::ca("-----BEGIN PRIVATE KEY-----"), no_key] {
            let error = Client::builder("a:1").tls(tls).build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        let builder = ClientBuilder::new("a:1").token("secret");
        assert!(!format!("{builder:?}").contains("secret"));
        let text = crate::Text::from("secret");
        assert!(!format!("{text:?}").contains("secret"));
    }
}
