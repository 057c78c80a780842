//! Whom we believe: the system's certificate authorities and, if the operator names one, an extra one.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::ConfigError;

/// A TLS client configuration without client certificate.
pub(super) fn client(extra_ca_pem: Option<&[u8]>) -> Result<ClientConfig, ConfigError> {
    let mut roots = RootCertStore::empty();
    // A host without any is no error here: it shows when a certificate is checked, and only then.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in extra_ca_pem.map(authorities).transpose()?.into_iter().flatten() {
        roots.add(certificate).map_err(|_| ConfigError::Authority)?;
    }
    provided()?;
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// The certificates in a PEM file; at least one.
pub(super) fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| ConfigError::Authority)?;
    if certificates.is_empty() { Err(ConfigError::Authority) } else { Ok(certificates) }
}

/// rustls and lettre panic without a default provider; a library must not choose one for the program.
pub(super) fn provided() -> Result<(), ConfigError> {
    rustls::crypto::CryptoProvider::get_default().map(drop).ok_or(ConfigError::NoCryptoProvider)
}
