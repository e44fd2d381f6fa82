//! TLS towards other hosts (RFC 3207). Opportunistic: any certificate is taken, and judged after the handshake (crate `tls`).

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tls::AnyCertificate;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The client side of TLS, made once.
#[derive(Clone)]
pub(crate) struct Client(TlsConnector);

impl Client {
    /// With aws-lc-rs, named explicitly: an implicit default panics if two providers are linked.
    pub(crate) fn new() -> Result<Self, crate::Error> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| crate::Error::Tls(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate::default()))
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
    /// The handshake. `host` is an MX host's name or an address in brackets; it is sent as SNI if it is a name.
    pub(crate) async fn connect<S>(&self, host: &str, ip: IpAddr, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.trim_end_matches('.').to_owned())
            .unwrap_or_else(|_| ServerName::IpAddress(ip.into()));
        self.0.connect(name, stream).await
    }
}
