//! Certificates as tests need them: good ones, and such as nobody should trust.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    /// From yesterday to tomorrow.
    Now,
    /// Until yesterday.
    Once,
}

/// One who signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, whom nobody knows.
    ///
    /// # Panics
    ///
    /// Where the machine has no randomness.
    pub fn new(name: &str) -> Self {
        let mut parameters = parameters(name, &[], Valid::Now);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { issuer: CertifiedIssuer::self_signed(parameters, key()).expect("a certificate") }
    }

    /// Its own certificate, as PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// Signs a certificate of a server with these names, or of a client without any.
    ///
    /// # Panics
    ///
    /// Where a name is none.
    pub fn sign(&self, name: &str, names: &[&str], valid: Valid) -> Certified {
        let key = key();
        let signed = parameters(name, names, valid).signed_by(&key, &self.issuer).expect("a certificate");
        Certified { certificate: signed.pem(), key: key.serialize_pem() }
    }
}

/// A certificate that its own key signed.
///
/// # Panics
///
/// Where a name is none.
pub fn self_signed(name: &str, names: &[&str], valid: Valid) -> Certified {
    let key = key();
    let signed = parameters(name, names, valid).self_signed(&key).expect("a certificate");
    Certified { certificate: signed.pem(), key: key.serialize_pem() }
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key")
}

fn parameters(name: &str, names: &[&str], valid: Valid) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).expect("names");
    parameters.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    parameters.not_before = (now - 2 * DAY).into();
    parameters.not_after = if valid == Valid::Now { now + DAY } else { now - DAY }.into();
    parameters
}
