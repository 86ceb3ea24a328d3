//! TLS towards a remote server: who the client is, and which server it trusts. Connecting is left to
//! the transport.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::error::Error;

/// The client's certificate and key, as PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// The configuration for one server, which is trusted by its certificate alone: LXD's own is
/// self-signed and names only the host that made it.
pub(crate) fn configuration(server: &str, identity: Option<&Identity>) -> Result<ClientConfig, Error> {
    let server = CertificateDer::from_pem_slice(server.as_bytes())
        .map_err(|error| unreadable("the server's certificate", error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned = Arc::new(Pinned { server, provider: Arc::clone(&provider) });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("TLS cannot be set up", error))?
        .dangerous()
        .with_custom_certificate_verifier(pinned);
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

/// Trusts the one certificate, whatever name and dates it has; the handshake must prove its key.
#[derive(Debug)]
struct Pinned {
    server: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if end_entity == &self.server {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("the server shows another certificate than the trusted one".into()))
        }
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
