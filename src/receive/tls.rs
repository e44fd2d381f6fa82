//! STARTTLS for incoming sessions (RFC 3207). All use of rustls on this side is in this file; what a client's certificate is worth is
//! judged after the handshake (crate `tls`).

use mail::Encryption;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::sync::Arc;
use tls::{AnyCertificate, Authorities, Side};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The server side of TLS, made once for each configuration.
#[derive(Clone)]
pub struct Tls {
    /// Asks clients for their certificates; none is required, and any is taken.
    asking: TlsAcceptor,
    /// Asks for none.
    silent: TlsAcceptor,
    authorities: Arc<Authorities>,
}

impl Tls {
    /// From PEM texts: certificate chain and key; `authorities` vouch for clients.
    ///
    /// # Errors
    /// Says which of the two cannot be used and why; never shows key material.
    pub fn new(chain: &[u8], key: &[u8], authorities: Arc<Authorities>) -> Result<Self, String> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| format!("certificate: {e}"))?;
        if chain.is_empty() {
            return Err("certificate: no certificate in the file".into());
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| format!("key: {e}"))?;
        let acceptor = |asking: bool| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|e| e.to_string())?;
            let builder = match asking {
                true => builder.with_client_cert_verifier(Arc::new(AnyCertificate::default())),
                false => builder.with_no_client_auth(),
            };
            let config = builder
                .with_single_cert(chain.clone(), key.clone_key())
                .map_err(|e| format!("certificate and key: {e}"))?;
            Ok::<_, String>(TlsAcceptor::from(Arc::new(config)))
        };
        Ok(Self { asking: acceptor(true)?, silent: acceptor(false)?, authorities })
    }

    /// The handshake, and what came of it.
    pub(crate) async fn accept<S>(&self, stream: S, asking: bool) -> io::Result<(TlsStream<S>, Encryption)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = if asking { &self.asking } else { &self.silent }.accept(stream).await?;
        let encryption = self.authorities.encryption(stream.get_ref().1, Side::Client, asking);
        Ok((stream, encryption))
    }
}
