//! Who the client is to a server behind HTTPS: a certificate and its key. That a server trusts it is
//! left to `joining`.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::fingerprint::Fingerprint;
use super::pem;
use super::tls::{invalid, provider, unreadable};
use crate::error::Error;

/// How long a new certificate is valid, as those are that LXD's own tools make.
const VALID: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How far behind the clock of a server may be that gets to see a new certificate.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60 * 60);

/// Who a client is to a server behind `https://`: a certificate, and the private key that proves it.
///
/// LXD knows a client by its certificate alone, which may be self-signed.
///
/// ```no_run
/// # async fn run() -> Result<(), lxd_client::Error> {
/// use lxd_client::{Client, Identity};
///
/// let identity = Identity::from_files("client.crt", "client.key")?;
/// let lxd = Client::builder()
///     .endpoint("https://192.0.2.7:8443")
///     .server_fingerprint("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
///     .identity(identity)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Identity {
    certificate: String,
    key: String,
    /// Both as TLS wants them.
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// An identity of which the certificate and the key are given as PEM. Behind the certificate there
    /// may be those that signed it.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where one of them is no such thing, where the key is encrypted, or where
    /// they do not belong together.
    pub fn from_pem(certificate: impl Into<String>, key: impl Into<String>) -> Result<Self, Error> {
        let (certificate, key) = (certificate.into(), key.into());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
        let chain = chain.map_err(|error| unreadable("the client's certificate", &error))?;
        if chain.is_empty() {
            return Err(Error::configuration(
                "the client's certificate is not there: its PEM has no `-----BEGIN CERTIFICATE-----`",
            ));
        }
        if key.contains("ENCRYPTED") {
            return Err(Error::configuration(
                "the client's key is encrypted: decrypt it first, as with `openssl pkey -in KEY -out \
                 DECRYPTED`",
            ));
        }
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes());
        let private = private.map_err(|error| unreadable("the client's key", &error))?;
        let certified = CertifiedKey::from_der(chain, private, provider())
            .map_err(|error| invalid("the client's certificate and key cannot be used together", error))?;
        Ok(Self { certificate, key, certified: Arc::new(certified) })
    }

    /// An identity in two files of PEM, such as `client.crt` and `client.key` of the command-line client.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where a file cannot be read, and what [`from_pem`](Self::from_pem)
    /// returns.
    pub fn from_files(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, Error> {
        let read = |what: &str, path: &Path| {
            fs::read_to_string(path).map_err(|error| {
                invalid(&format!("the client's {what} {} cannot be read", path.display()), error)
            })
        };
        Self::from_pem(read("certificate", certificate.as_ref())?, read("key", key.as_ref())?)
    }

    /// A new identity: a key for ECDSA on the curve P-384 and a certificate that it signs itself, valid
    /// for ten years. The name is that of its subject (`CN`), for people to know it by.
    ///
    /// ```
    /// # fn run() -> Result<(), lxd_client::Error> {
    /// let identity = lxd_client::Identity::generate("ci-runner-7")?;
    /// println!("trust {} as the CI runner", identity.fingerprint());
    /// # Ok(())
    /// # }
    /// # run().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where the machine has no randomness to give.
    pub fn generate(name: &str) -> Result<Self, Error> {
        let failed = |error| invalid("no identity can be made", error);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(failed)?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, name);
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = subject;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let now = SystemTime::now();
        parameters.not_before = (now - CLOCKS_DIFFER).into();
        parameters.not_after = (now + VALID).into();
        let certificate = parameters.self_signed(&key).map_err(failed)?;
        Self::from_pem(
            pem::write("CERTIFICATE", certificate.der()),
            pem::write("PRIVATE KEY", key.serialized_der()),
        )
    }

    /// Writes the certificate and the key into files, which must not exist yet: a key that is lost
    /// cannot be made again. Only their owner may read the key.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where one exists, or cannot be written.
    pub fn write_files(&self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<(), Error> {
        let write = |path: &Path, mode, text: &str| {
            let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
            file.and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|error| invalid(&format!("{} cannot be written", path.display()), error))
        };
        write(key.as_ref(), 0o600, &self.key)?;
        write(certificate.as_ref(), 0o644, &self.certificate)
    }

    /// The certificate as PEM, for the server to trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The private key as PEM. It is a secret.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The fingerprint of the certificate (SHA-256, in hexadecimal digits), by which the server lists it.
    pub fn fingerprint(&self) -> String {
        self.certified.cert.first().map(Fingerprint::of).map(|own| own.to_string()).unwrap_or_default()
    }

    pub(super) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::Identity;

    #[test]
    fn a_new_identity_can_be_kept_in_files() {
        let folder = std::env::temp_dir().join(format!("lxd-client-identity-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let (certificate, key) = (folder.join("client.crt"), folder.join("client.key"));
        let identity = Identity::generate("a test").unwrap();
        assert_ne!(identity.fingerprint(), Identity::generate("a test").unwrap().fingerprint());
        identity.write_files(&certificate, &key).unwrap();
        let read = Identity::from_files(&certificate, &key).unwrap();
        assert_eq!((read.certificate(), read.key()), (identity.certificate(), identity.key()));
        assert_eq!(read.fingerprint(), identity.fingerprint());
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

        let again = Identity::generate("another").unwrap().write_files(&certificate, &key).unwrap_err();
        assert!(again.to_string().contains("client.key cannot be written: File exists"), "{again}");
        assert_eq!(std::fs::read_to_string(&key).unwrap(), identity.key());
        std::fs::remove_dir_all(&folder).unwrap();

        let missing = Identity::from_files(&certificate, &key).unwrap_err().to_string();
        assert!(missing.contains("client.crt cannot be read: No such file"), "{missing}");
        let shown = format!("{identity:?}");
        assert!(shown.contains(&identity.fingerprint()) && !shown.contains("KEY"), "{shown}");
    }

    #[test]
    fn a_key_that_cannot_be_read_is_not_shown() {
        let identity = Identity::generate("me").unwrap();
        let one_line = identity.key().replace('\n', " ");
        let secret = identity.key().lines().nth(1).unwrap();
        let bytes = format!("{:?}", secret.as_bytes());
        for key in [
            one_line.clone(),
            one_line.trim_end_matches('-').to_owned(),
            identity.key().replace(secret, &format!("{secret}!")),
            identity.key().replace("-----END", "-----"),
        ] {
            for error in [
                Identity::from_pem(identity.certificate(), &*key).unwrap_err(),
                Identity::from_pem(&*key, &*key).unwrap_err(),
            ] {
                let shown = format!("{error} {error:?}");
                assert!(shown.contains("the client's"), "{shown}");
                assert!(
                    !shown.contains(secret) && !shown.contains(bytes.trim_matches(['[', ']'])),
                    "{shown}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_identity_is_told() {
        let (one, two) = (Identity::generate("1").unwrap(), Identity::generate("2").unwrap());
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGj\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let old =
            "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIGj\n-----END EC PRIVATE KEY-----\n";
        for (certificate, key, told) in [
            ("", one.key(), "the client's certificate is not there"),
            (one.key(), one.key(), "the client's certificate is not there"),
            ("-----BEGIN CERTIFICATE-----\n", one.key(), "the client's certificate cannot be read as PEM"),
            (one.certificate(), "", "the client's key cannot be read as PEM"),
            (one.certificate(), one.certificate(), "the client's key cannot be read as PEM"),
            (one.certificate(), encrypted, "the client's key is encrypted: decrypt it first"),
            (one.certificate(), old, "the client's key is encrypted: decrypt it first"),
            (one.certificate(), two.key(), "cannot be used together"),
        ] {
            let error = Identity::from_pem(certificate, key).unwrap_err().to_string();
            assert!(error.starts_with("the client's") && error.contains(told), "{error}");
        }
    }
}
