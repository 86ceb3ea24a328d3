//! TLS towards a remote server: the configuration of it, and which server is the right one. Connecting
//! is left to `transport`, what a fingerprint is to `fingerprint`.

use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::fingerprint::Fingerprint;
use super::identity::Identity;
use crate::error::Error;

/// For how long clients share the authorities of the machine before they are read again, as there may be new
/// ones.
const SHARED: Duration = Duration::from_secs(60);

/// Which server is trusted.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// The one that is told by its certificate alone. LXD's own is self-signed and names only the host
    /// that made it, so neither its names nor its dates matter.
    Pinned(Pin),
    /// Those whose certificate one of these authorities signed for the name they are reached by.
    Authorities(Arc<RootCertStore>),
}

/// What tells a server by its certificate.
#[derive(Clone, Debug)]
pub(crate) enum Pin {
    /// It is this one.
    Certificate(CertificateDer<'static>),
    /// It has this fingerprint.
    Fingerprint(Fingerprint),
    /// It may be any, as on a first contact: what is shown is put here, and nothing is to be sent.
    FirstContact(Arc<OnceLock<CertificateDer<'static>>>),
}

impl Trust {
    /// The server that shows a certificate, given as PEM.
    pub(crate) fn certificate(pem: &str) -> Result<Self, Error> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
        Ok(Self::Pinned(Pin::Certificate(
            certificate.map_err(|error| unreadable("the server's certificate", &error))?,
        )))
    }

    /// The server whose certificate has a fingerprint, as text.
    pub(crate) fn fingerprint(text: &str) -> Result<Self, Error> {
        Ok(Self::Pinned(Pin::Fingerprint(text.parse()?)))
    }

    /// The servers whose certificates an authority signed, or one of several, given as PEM.
    pub(crate) fn authority(pem: &str) -> Result<Self, Error> {
        let mut authorities = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate =
                certificate.map_err(|error| unreadable("the authority's certificate", &error))?;
            authorities
                .add(certificate)
                .map_err(|error| invalid("the authority's certificate cannot be used", error))?;
        }
        if authorities.is_empty() {
            return Err(Error::configuration(
                "the authority's certificate is not there: its PEM has no `-----BEGIN CERTIFICATE-----`",
            ));
        }
        Ok(Self::Authorities(Arc::new(authorities)))
    }

    /// The servers whose certificates an authority signed that this machine trusts. Clients that are built soon
    /// after each other share them: to read them takes milliseconds, and a hundred kilobytes.
    pub(crate) fn system() -> Result<Self, Error> {
        static READ: Mutex<Option<(Instant, Weak<RootCertStore>)>> = Mutex::new(None);
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = read.as_ref().filter(|(when, _)| when.elapsed() < SHARED);
        if let Some(authorities) = shared.and_then(|(_, authorities)| authorities.upgrade()) {
            return Ok(Self::Authorities(authorities));
        }
        let found = rustls_native_certs::load_native_certs();
        let mut authorities = RootCertStore::empty();
        // Some that a machine has are too odd for anybody.
        let (usable, _) = authorities.add_parsable_certificates(found.certs);
        if usable == 0 {
            let message = "this machine has no certificates of authorities (package ca-certificates): install \
                           them, or name the server's with ClientBuilder::server_authority";
            return Err(match found.errors.into_iter().next() {
                Some(error) => invalid(message, error),
                None => Error::configuration(message),
            });
        }
        let authorities = Arc::new(authorities);
        *read = Some((Instant::now(), Arc::downgrade(&authorities)));
        Ok(Self::Authorities(authorities))
    }
}

impl Pin {
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
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("TLS cannot be set up", error))?;
    let builder = match trust {
        Trust::Authorities(authorities) => builder.with_root_certificates(authorities),
        Trust::Pinned(pin) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { pin, provider: Arc::clone(provider) })),
    };
    let mut configuration = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let own = SingleCertAndKey::from(Arc::clone(identity.certified()));
            builder.with_client_cert_resolver(Arc::new(own))
        }
    };
    // Room for the sessions of two servers, which is eight of each: the default is for 32, and 13 KiB. (With room
    // for one, older versions of rustls keep none.)
    configuration.resumption = Resumption::in_memory_sessions(16);
    Ok(configuration)
}

/// What does the arithmetic, which all clients share.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    &PROVIDER
}

/// What is wrong with PEM, in words of our own: those of the library quote what was given, which may be
/// a key.
pub(super) fn unreadable(what: &str, error: &pem::Error) -> Error {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "it has no line of `-----END …-----`",
        pem::Error::IllegalSectionStart { .. } => "its line of `-----BEGIN …-----` is broken",
        pem::Error::Base64Decode(_) => "what is between its first and last line is not base64",
        pem::Error::NoItemsFound => "it has no such section",
        _ => "it is broken",
    };
    Error::configuration(format!("{what} cannot be read as PEM: {why}"))
}

pub(crate) fn invalid(message: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Configuration { message: format!("{message}: {error}"), source: Some(error.into()) }
}

/// Accepts the server that is pinned; the handshake must prove the key of what it shows.
#[derive(Debug)]
struct Verifier {
    pin: Pin,
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
        if self.pin.covers(end_entity) {
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
