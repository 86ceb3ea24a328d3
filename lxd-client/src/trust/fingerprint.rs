//! Fingerprints of certificates: the hash of what a server shows, as people compare and write it.

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ring::digest::{self, Algorithm};
use rustls::pki_types::CertificateDer;

use super::pem;
use crate::error::Error;

/// The hash of a certificate.
#[derive(Clone, PartialEq)]
pub(crate) struct Fingerprint {
    algorithm: &'static Algorithm,
    hash: Vec<u8>,
}

impl Fingerprint {
    /// The fingerprint of a certificate, by SHA-256.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        let algorithm = &digest::SHA256;
        Self { algorithm, hash: digest::digest(algorithm, certificate).as_ref().to_vec() }
    }

    /// Whether nobody can make another certificate that has it, as is so for SHA-256.
    pub(crate) fn is_strong(&self) -> bool {
        self.algorithm == &digest::SHA256
    }

    /// Whether it is that of a certificate.
    pub(crate) fn is_of(&self, certificate: &CertificateDer<'_>) -> bool {
        digest::digest(self.algorithm, certificate).as_ref() == self.hash
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    /// `sha256$…` or `sha1$…`; without a name, the length tells. Colons and case do not matter.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, digits) = text.trim().split_once('$').unwrap_or(("", text.trim()));
        let digits = digits.replace(':', "");
        let algorithm = match (name.to_ascii_lowercase().as_str(), digits.len()) {
            ("sha256" | "", 64) => &digest::SHA256,
            // For old configurations.
            ("sha1" | "", 40) => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            _ => return Err(unreadable(text)),
        };
        let hash = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| unreadable(text))?;
        Ok(Self { algorithm, hash })
    }
}

fn unreadable(text: &str) -> Error {
    Error::configuration(format!(
        "`{text}` is no fingerprint of a certificate: it is `sha256$` (or, in old configurations, `sha1$`) \
         and 64 (or 40) hexadecimal digits, with colons or without"
    ))
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER.encode(&self.hash))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({self})")
    }
}

/// The certificate that a server has shown on a first contact, see
/// [`Client::fetch_server_certificate`](crate::Client::fetch_server_certificate).
#[derive(Clone, PartialEq)]
pub struct ServerCertificate {
    der: CertificateDer<'static>,
}

impl ServerCertificate {
    pub(crate) fn new(der: CertificateDer<'static>) -> Self {
        Self { der }
    }

    /// The fingerprint (SHA-256, in hexadecimal digits), for somebody to compare with the one that
    /// `lxc info` shows on the server.
    pub fn fingerprint(&self) -> String {
        Fingerprint::of(&self.der).to_string()
    }

    /// The certificate as PEM, for
    /// [`ClientBuilder::server_certificate`](crate::ClientBuilder::server_certificate).
    pub fn pem(&self) -> String {
        pem::write("CERTIFICATE", &self.der)
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ServerCertificate").field(&self.fingerprint()).finish()
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;

    use super::Fingerprint;

    #[test]
    fn fingerprints_are_read_in_all_their_forms() {
        // The hashes of the text `abc`, from the standards.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d";
        let certificate = CertificateDer::from(b"abc".to_vec());
        assert_eq!(Fingerprint::of(&certificate).to_string(), sha256);
        let with_colons = |digits: &str| {
            let pairs: Vec<_> = digits.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
            pairs.join(":")
        };
        for (name, digits) in [("sha256", sha256), ("sha1", sha1)] {
            for text in [
                digits.to_owned(),
                digits.to_uppercase(),
                with_colons(digits),
                format!("{name}${digits}"),
                format!(" {}${}\n", name.to_uppercase(), with_colons(&digits.to_uppercase())),
            ] {
                let fingerprint: Fingerprint = text.parse().unwrap();
                assert!(fingerprint.is_of(&certificate), "{text}");
                assert!(!fingerprint.is_of(&CertificateDer::from(b"abd".to_vec())), "{text}");
            }
        }
        for bad in ["", "sha256$", "md5$00", &sha256[1..], &format!("sha1${sha256}"), &"x".repeat(64)] {
            let error = bad.parse::<Fingerprint>().unwrap_err().to_string();
            assert!(error.contains("is no fingerprint"), "{error}");
        }
    }
}
