//! Whether somebody trusted vouches for the other side of a session. It is asked after the handshake and outside of it: whom nobody vouches
//! for gets his session all the same, as in sendmail, and the access table decides what it may be used for.

use crate::{Error, name};
use mail::{Certificate, Encryption, Verify};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CommonState, RootCertStore};
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::X509Version;

/// What the other side of a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It connected to us.
    Client,
    /// We connected to it.
    Server,
}

/// Those who are trusted: to vouch for others, or only each for itself.
#[derive(Debug)]
pub struct Authorities {
    /// All of the file. There are none if it could not be used: then nobody can be judged.
    listed: RootCertStore,
    /// Those of them that may sign for others.
    roots: Arc<RootCertStore>,
    /// `None` where there are no roots: rustls makes none then.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    algorithms: rustls::crypto::WebPkiSupportedAlgorithms,
}

impl Default for Authorities {
    fn default() -> Self {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        let (listed, roots) = (RootCertStore::empty(), Arc::new(RootCertStore::empty()));
        Self { listed, roots, clients: None, algorithms }
    }
}

impl Authorities {
    /// Out of a file of certificates (PEM). What cannot be read, and what has expired, is left out: there is always something odd in the
    /// files of whole systems.
    ///
    /// # Errors
    /// If nothing is left.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        Self::of(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok), UnixTime::now())
    }

    fn of(certificates: impl Iterator<Item = CertificateDer<'static>>, now: UnixTime) -> Result<Self, Error> {
        let (mut listed, mut roots) = (RootCertStore::empty(), RootCertStore::empty());
        for certificate in certificates {
            let Some(parsed) = x509(&certificate).filter(|parsed| is_current(parsed, now)) else { continue };
            let signs = may_sign(&parsed);
            if listed.add(certificate).is_ok() && signs {
                roots.extend(listed.roots.last().cloned());
            }
        }
        if listed.is_empty() {
            return Err(Error::NoAuthorities);
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider).build().ok();
        Ok(Self { listed, roots, clients, ..Self::default() })
    }

    /// What was agreed on in a handshake that has ended, and with whom. `asked`: a client was asked for its certificate.
    #[must_use]
    pub fn encryption(&self, session: &CommonState, side: Side, asked: bool) -> Encryption {
        let (verify, certificate) = match session.peer_certificates() {
            Some(chain) if !chain.is_empty() => self.judge(chain, side, UnixTime::now()),
            _ if asked => (Verify::No, None),
            _ => (Verify::Not, None),
        };
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let suite = session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
        let bits = if suite.contains("_128_") { 128 } else { 256 };
        Encryption { version, cipher: suite.replace("TLS13_", "TLS_"), bits, verify, certificate }
    }

    /// What a chain is worth, the other side's own certificate first.
    fn judge(&self, chain: &[CertificateDer<'_>], side: Side, now: UnixTime) -> (Verify, Option<Certificate>) {
        let Some((own, others)) = chain.split_first() else { return (Verify::No, None) };
        // What rustls cannot read it has not checked the handshake's signature of: nothing in it counts.
        let (Ok(parsed), Some(shown)) = (ParsedCertificate::try_from(own), x509(own)) else {
            return (Verify::Fail, None);
        };
        if self.listed.is_empty() {
            return (Verify::Temp, Some(name::certificate(&shown)));
        }
        // rustls would take a signature of an authority between whose key is not for signing certificates.
        let others = others.iter().filter(|other| x509(other).is_some_and(|other| may_sign(&other)));
        let others: &[CertificateDer<'_>] = &others.cloned().collect::<Vec<_>>();
        let vouched = match side {
            Side::Server => {
                let algorithms = self.algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, others, now, algorithms).is_ok()
            }
            Side::Client => {
                self.clients.as_ref().is_some_and(|clients| clients.verify_client_cert(own, others, now).is_ok())
            }
        };
        let verify = if vouched || self.is_one(own, &shown, now) { Verify::Ok } else { Verify::Fail };
        (verify, Some(name::certificate(&shown)))
    }

    /// Whether it is one of the file itself, which may name a host's own, self-signed certificate, as in OpenSSL: by name and key.
    fn is_one(&self, own: &CertificateDer<'_>, shown: &X509Certificate<'_>, now: UnixTime) -> bool {
        let mut alone = RootCertStore::empty();
        if alone.add(own.clone().into_owned()).is_err() || !is_current(shown, now) {
            return false;
        }
        let Some(own) = alone.roots.first() else { return false };
        let same = |root: &TrustAnchor<'_>| {
            root.subject == own.subject && root.subject_public_key_info == own.subject_public_key_info
        };
        self.listed.roots.iter().any(same)
    }
}

/// Reads a certificate for what rustls does not tell; `None` also if something stands behind it.
fn x509<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(certificate).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, parsed)| parsed)
}

/// Whether it may sign for others (RFC 5280, 4.2.1.3 and 4.2.1.9): a host's own certificate that somebody trusts is no authority. Those of
/// version 1 cannot say it; as in OpenSSL, one that names itself as its issuer is a root of old.
fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    if certificate.version() == X509Version::V1 {
        return certificate.extensions().is_empty() && certificate.subject().as_raw() == certificate.issuer().as_raw();
    }
    let (Ok(basic), Ok(usage)) = (certificate.basic_constraints(), certificate.key_usage()) else { return false };
    basic.is_some_and(|basic| basic.value.ca) && usage.is_none_or(|usage| usage.value.key_cert_sign())
}

fn is_current(certificate: &X509Certificate<'_>, now: UnixTime) -> bool {
    let Ok(now) = i64::try_from(now.as_secs()) else { return false };
    let validity = certificate.validity();
    validity.not_before.timestamp() <= now && now <= validity.not_after.timestamp()
}

#[cfg(test)]
#[path = "authorities_test.rs"]
mod tests;
