//! Verifiers for the handshake itself: any certificate is taken, for a wrong one is still better than clear text. Its signatures are checked,
//! so that the other side holds the key it shows; what the certificate is worth is asked afterwards (`Authorities`).

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Takes any certificate of a server, and of a client that shows one.
#[derive(Debug)]
pub struct AnyCertificate(WebPkiSupportedAlgorithms);

impl Default for AnyCertificate {
    fn default() -> Self {
        Self(aws_lc_rs::default_provider().signature_verification_algorithms)
    }
}

type Checked = Result<HandshakeSignatureValid, Error>;

impl AnyCertificate {
    /// A certificate that rustls cannot read (version 1, say) has no key to check with. The session goes on and [`crate::Authorities`], which
    /// reads it in the same way, trusts nothing in it.
    fn unless_unreadable(certificate: &CertificateDer<'_>, check: impl FnOnce() -> Checked) -> Checked {
        match ParsedCertificate::try_from(certificate) {
            Ok(_) => check(),
            Err(_) => Ok(HandshakeSignatureValid::assertion()),
        }
    }
    fn tls12(&self, message: &[u8], certificate: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Checked {
        Self::unless_unreadable(certificate, || verify_tls12_signature(message, certificate, signed, &self.0))
    }
    fn tls13(&self, message: &[u8], certificate: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Checked {
        Self::unless_unreadable(certificate, || verify_tls13_signature(message, certificate, signed, &self.0))
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _own: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(&self, m: &[u8], c: &CertificateDer<'_>, s: &DigitallySignedStruct) -> Checked {
        self.tls12(m, c, s)
    }
    fn verify_tls13_signature(&self, m: &[u8], c: &CertificateDer<'_>, s: &DigitallySignedStruct) -> Checked {
        self.tls13(m, c, s)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        _own: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(&self, m: &[u8], c: &CertificateDer<'_>, s: &DigitallySignedStruct) -> Checked {
        self.tls12(m, c, s)
    }
    fn verify_tls13_signature(&self, m: &[u8], c: &CertificateDer<'_>, s: &DigitallySignedStruct) -> Checked {
        self.tls13(m, c, s)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
