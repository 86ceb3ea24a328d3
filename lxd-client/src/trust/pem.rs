//! PEM, the text in which certificates and keys are passed on. To read it is left to rustls.

use data_encoding::BASE64;

/// The PEM of what is encoded, with the label of its kind.
pub(super) fn write(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        // Base64 is ASCII.
        pem.extend(line.iter().map(|letter| char::from(*letter)));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::write;

    #[test]
    fn what_is_written_can_be_read() {
        let der = CertificateDer::from((0..=255).collect::<Vec<u8>>());
        let pem = write("CERTIFICATE", &der);
        assert!(pem.lines().all(|line| line.len() <= 64), "{pem}");
        assert_eq!(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap(), der);
    }
}
