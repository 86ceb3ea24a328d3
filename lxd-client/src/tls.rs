//! TLS towards a remote server: who the client is, and which server it trusts. Connecting is left to
//! the transport, what a fingerprint is to `fingerprint`.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::error::Error;
use crate::fingerprint::Fingerprint;

/// The client's certificate and key, as PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Which server is trusted. LXD's own certificate is self-signed and names only the host that made it,
/// so neither its names nor its dates matter.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// The one that shows this certificate.
    Certificate(CertificateDer<'static>),
    /// The one whose certificate has this fingerprint.
    Fingerprint(Fingerprint),
    /// Any, as on a first contact: what it shows is put here, and nothing is to be sent to it.
    FirstContact(Arc<OnceLock<CertificateDer<'static>>>),
}

impl Trust {
    /// The server that shows a certificate, given as PEM.
    pub(crate) fn certificate(pem: &str) -> Result<Self, Error> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
        Ok(Self::Certificate(certificate.map_err(|error| unreadable("the server's certificate", error))?))
    }

    /// The server whose certificate has a fingerprint, as text.
    pub(crate) fn fingerprint(text: &str) -> Result<Self, Error> {
        Ok(Self::Fingerprint(text.parse()?))
    }

    fn covers(&self, shown: &CertificateDer<'_>) -> bool {
        match self {
            Self::Certificate(trusted) => trusted == shown,
            Self::Fingerprint(trusted) => trusted.is_of(shown),
            Self::FirstContact(place) => {
                place.get_or_init(|| shown.clone().into_owned());
                true
            }
        }
    }
}

/// The configuration for one server.
pub(crate) fn configuration(trust: Trust, identity: Option<&Identity>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Verifier { trust, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("TLS cannot be set up", error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
    let chain = chain.map_err(|error| unreadable("the client's certificate", error))?;
    if identity.key.contains("ENCRYPTED") {
        return Err(Error::configuration(
            "the client's key is encrypted: decrypt it first, as with `openssl pkey`",
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())
        .map_err(|error| unreadable("the client's key", error))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| invalid("the client's certificate and key cannot be used", error))
}

fn unreadable(what: &str, error: rustls::pki_types::pem::Error) -> Error {
    invalid(&format!("{what} cannot be read as PEM"), error)
}

fn invalid(message: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Configuration { message: format!("{message}: {error}"), source: Some(error.into()) }
}

/// Accepts the server that is trusted; the handshake must prove the key of what it shows.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trust.covers(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(format!(
            "the server shows another certificate than the trusted one, with the fingerprint {}",
            Fingerprint::of(end_entity)
        )))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
