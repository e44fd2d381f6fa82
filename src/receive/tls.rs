//! STARTTLS for incoming sessions (RFC 3207). All use of rustls on this side is in this file.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// An acceptor from PEM texts: certificate chain and key.
///
/// # Errors
/// Says which of the two cannot be used and why; never shows key material.
pub fn acceptor(chain: &[u8], key: &[u8]) -> Result<TlsAcceptor, String> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("certificate: {e}"))?;
    if chain.is_empty() {
        return Err("certificate: no certificate in the file".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| format!("key: {e}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| format!("certificate and key: {e}"))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Length of the key.
pub(crate) fn bits(connection: &ServerConnection) -> u32 {
    let suite = connection.negotiated_cipher_suite();
    if suite.is_some_and(|suite| format!("{:?}", suite.suite()).contains("_128_")) { 128 } else { 256 }
}

/// `version=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384, bits=256` for log and Received.
pub(crate) fn describe(connection: &ServerConnection) -> String {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "unknown",
    };
    let cipher = connection
        .negotiated_cipher_suite()
        .map_or_else(String::new, |suite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_"));
    let bits = if cipher.contains("AES_128") { 128 } else { 256 };
    format!("version={version}, cipher={cipher}, bits={bits}")
}

/// The same as sendmail logs it. Clients show no certificate that we would ask for.
pub(crate) fn logged(described: &str) -> String {
    let bits = described.rsplit_once("bits=").map_or("0", |(_, bits)| bits);
    format!("{}/{bits}", described.replacen(", cipher", ", verify=NO, cipher", 1))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_log_line_has_sendmails_order() {
        assert_eq!(
            super::logged("version=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384, bits=256"),
            "version=TLSv1.3, verify=NO, cipher=TLS_AES_256_GCM_SHA384, bits=256/256"
        );
    }
}
