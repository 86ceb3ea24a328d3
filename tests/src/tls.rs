//! The server's side of TLS, which notes what clients show and want.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ProtocolVersion, ServerConfig, SignatureScheme,
    SupportedProtocolVersion, client::danger::HandshakeSignatureValid,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;

use crate::certificates::Certified;

/// How a client began to speak TLS.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The protocols that it offered to speak inside (ALPN).
    pub protocols: Vec<String>,
    /// The version that was agreed on, where it came to that.
    pub version: Option<ProtocolVersion>,
    /// The certificate that it showed.
    pub client: Option<Vec<u8>>,
    /// Why it was broken off.
    pub failure: Option<String>,
}

/// What a server does that shows a certificate with its key, and takes any client.
///
/// # Panics
///
/// Where they are no such thing.
pub fn server(certified: &Certified, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let chain = CertificateDer::pem_slice_iter(certified.certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes()).expect("a key");
    let key = provider.key_provider.load_private_key(key).expect("a key");
    // Not checked to belong together: some servers are liars.
    let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_client_cert_verifier(Arc::new(AnyClient(provider)))
        .with_cert_resolver(Arc::new(shown));
    // As LXD offers it.
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    server
}

/// Shakes hands with a client: how that went, and the stream where it went well.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    server: Arc<ServerConfig>,
) -> (Handshake, Option<tokio_rustls::server::TlsStream<S>>) {
    let mut handshake = Handshake { protocols: Vec::new(), version: None, client: None, failure: None };
    let started = match LazyConfigAcceptor::new(Acceptor::default(), stream).await {
        Ok(started) => started,
        Err(error) => {
            handshake.failure = Some(error.to_string());
            return (handshake, None);
        }
    };
    let offered = started.client_hello().alpn().into_iter().flatten();
    handshake.protocols = offered.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    match started.into_stream(server).await {
        Ok(stream) => {
            let (_, connection) = stream.get_ref();
            handshake.version = connection.protocol_version();
            let shown = connection.peer_certificates().and_then(<[_]>::first);
            handshake.client = shown.map(|certificate| certificate.to_vec());
            (handshake, Some(stream))
        }
        Err(error) => {
            handshake.failure = Some(error.to_string());
            (handshake, None)
        }
    }
}

/// Takes any client, with a certificate or without, as LXD does at first.
#[derive(Debug)]
struct AnyClient(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
