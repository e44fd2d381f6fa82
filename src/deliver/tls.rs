//! TLS towards other hosts (RFC 3207). Opportunistic: any certificate is taken, for a wrong one is still better than clear
//! text, but the handshake's signatures are checked, so the peer holds the key it shows. All use of rustls is in here.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The client side of TLS, made once.
#[derive(Clone)]
pub(crate) struct Client(TlsConnector);

impl Client {
    /// With aws-lc-rs, named explicitly: an implicit default panics if two providers are linked.
    pub(crate) fn new() -> Result<Self, crate::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| crate::Error::Tls(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
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

/// What was agreed, in the words of sendmail's log line (sendmail.md 5.6).
pub(crate) fn agreed<S>(stream: &TlsStream<S>) -> String {
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let suite = suite(stream);
    let bits = bits(stream);
    let cipher = suite.replace("TLS13_", "TLS_");
    format!("version={version}, verify=NOT, cipher={cipher}, bits={bits}/{bits}")
}

fn suite<S>(stream: &TlsStream<S>) -> String {
    let suite = stream.get_ref().1.negotiated_cipher_suite();
    suite.map_or_else(String::new, |suite| format!("{:?}", suite.suite()))
}

/// Length of the key.
pub(crate) fn bits<S>(stream: &TlsStream<S>) -> u32 {
    if suite(stream).contains("_128_") { 128 } else { 256 }
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
