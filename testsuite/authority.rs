//! An authority that signs certificates, for servers and clients whose names are to be believed.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

fn parameters(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut parameters = CertificateParams::new(hosts).expect("host names");
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, "Test Org");
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

impl Authority {
    /// `/O=Test Org/CN=name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut parameters = parameters(name, &[]);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().expect("a key")).expect("a certificate"))
    }
    /// For files of authorities.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }
    /// Vouches for `/O=Test Org/CN=name`, which has these host names besides.
    #[must_use]
    pub fn identity(&self, name: &str, hosts: &[&str]) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters(name, hosts).signed_by(&key, &self.0).expect("a certificate");
        Identity { certificate, key }
    }
}

impl Identity {
    /// For rustls.
    #[must_use]
    pub fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.certificate.der().clone()], PrivatePkcs8KeyDer::from(self.key.serialize_der()).into())
    }
}
