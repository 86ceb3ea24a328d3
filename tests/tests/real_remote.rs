//! Remote servers on a real LXD: the ways to become trusted there, and whom not to trust.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lxd_client::types::{CertificatePut, CertificateType, CertificatesPost, InstancesPost};
use lxd_client::{Client, ClientBuilder, Error, Identity, Remotes, TrustToken};
use lxd_tests::certificates::{Authority, Certified, Valid, self_signed};
use lxd_tests::daemon::{Daemon, with_daemon};
use lxd_tests::real::{Place, root_disk};

/// What `lxc` prints, with a configuration of its own for a daemon.
fn lxc(daemon: &Daemon, arguments: &[&str]) -> String {
    let folder = daemon.folder();
    let mut lxc = Command::new("lxc");
    lxc.env("LXD_DIR", folder).env("LXD_SOCKET", daemon.socket()).env("LXD_CONF", daemon.configuration());
    let output = lxc.args(arguments).output().expect("lxc");
    let (told, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "lxc {arguments:?}: {told}{wrong}");
    told.into_owned()
}

/// The token that `lxc` prints, which is its last line.
fn token(daemon: &Daemon, arguments: &[&str]) -> TrustToken {
    let told = lxc(daemon, arguments);
    told.lines().last().expect("a token").parse().unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// A builder of clients of a daemon that listens at an address.
async fn pinned(address: &str) -> Result<ClientBuilder, Error> {
    let endpoint = format!("https://{address}");
    let shown = Client::fetch_server_certificate(&endpoint).await?;
    Ok(Client::builder().endpoint(endpoint).server_fingerprint(shown.fingerprint()))
}

fn identity_of(certified: Certified) -> Identity {
    Identity::from_pem(certified.certificate, certified.key).expect("an identity")
}

/// What makes a server trust a client, whose certificate it takes without the lines that frame the PEM.
fn post(name: &str, identity: &Identity) -> CertificatesPost {
    let certificate = identity.certificate().lines().filter(|line| !line.starts_with('-')).collect();
    let r#type = CertificateType::Client;
    CertificatesPost { name: name.into(), certificate, r#type, ..Default::default() }
}

fn assert_stranger(answer: Result<Vec<String>, Error>) {
    let error = answer.unwrap_err();
    assert!(error.is_forbidden(), "{error:?}");
    assert!(error.to_string().contains("does the server trust this client"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_a_token_and_an_administrator_make_a_client_trusted() {
    with_daemon(|daemon| async move {
        let daemon = daemon.lock().await;
        let address = daemon.listen().await;
        let local = daemon.builder().build()?;
        let remote = pinned(&address).await?;
        let stranger = remote.clone().identity(Identity::generate("by password")?).build()?;
        assert_stranger(stranger.instances().await);

        // By a password, of which there is none at first.
        let error = stranger.become_trusted("laptop", "open sesame").await.unwrap_err();
        assert!(error.is_forbidden() || error.status() == Some(400), "{error:?}");
        daemon.configure("core.trust_password", "open sesame").await;
        let error = stranger.become_trusted("laptop", "hush").await.unwrap_err();
        assert!(error.is_forbidden() && !error.to_string().contains("hush"), "{error}");
        stranger.become_trusted("laptop", "open sesame").await?;
        assert_eq!(stranger.instances().await?, Vec::<String>::new());
        stranger.become_trusted("laptop", "whatever it is").await?;
        let known = local.certificates_recursion1().await?;
        assert_eq!(known.iter().map(|known| known.name.as_str()).collect::<Vec<_>>(), ["laptop"]);

        // By a token, of which all that was asked for is who made it.
        let identity = Identity::generate("by token")?;
        let token = token(&daemon, &["config", "trust", "add", "--name", "runner"]);
        assert_eq!((token.name(), token.addresses()), ("runner", &[address.clone()][..]));
        let runner = Client::builder().identity(identity.clone()).join(&token).await?;
        assert_eq!(runner.instances().await?, Vec::<String>::new());
        let known = local.certificate(&identity.fingerprint()).await?;
        assert_eq!(
            (known.name.as_str(), known.certificate.trim()),
            ("runner", identity.certificate().trim())
        );
        let again = Client::builder().identity(Identity::generate("late")?).join(&token).await.unwrap_err();
        assert!(again.is_forbidden() || again.status() == Some(400), "{again:?}");

        // The certificate is taken back, and what is open is closed to it.
        local.delete_certificate(&identity.fingerprint()).await?;
        assert_stranger(runner.instances().await);

        // By an administrator who lets it see one project.
        local.add_certificate(post("runner", &identity)).await?;
        assert_eq!(runner.projects().await?, ["/1.0/projects/default"]);
        let restricted = |known| CertificatePut { restricted: true, ..CertificatePut::from(known) };
        let fingerprint = identity.fingerprint();
        lxd_client::read_modify_write(
            || local.certificate(&fingerprint),
            restricted,
            |put| local.update_certificate(&fingerprint, put),
        )
        .await?;
        assert_eq!(runner.projects().await?, Vec::<String>::new());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_over_or_not_the_right_ones_are_refused() {
    with_daemon(|daemon| async move {
        let mut daemon = daemon.lock().await;
        let address = daemon.listen().await;
        let local = daemon.builder().build()?;
        // A client whose time is over.
        let over = identity_of(self_signed("over", &[], Valid::Once));
        let error = local.add_certificate(post("over", &over)).await.unwrap_err();
        assert!(error.status() == Some(400) && error.to_string().contains("expired"), "{error:?}");
        assert_stranger(pinned(&address).await?.identity(over).build()?.instances().await);

        // Servers whose certificates an authority signed, and such as it did not.
        let authority = Authority::new("the lab");
        let right = authority.sign("lxd", &["127.0.0.1", "localhost"], Valid::Now);
        for (certified, told) in [
            (right.clone(), None),
            (authority.sign("lxd", &["elsewhere.example"], Valid::Now), Some("is not for this host")),
            (authority.sign("lxd", &["127.0.0.1"], Valid::Once), Some("has expired")),
            (Authority::new("another").sign("lxd", &["127.0.0.1"], Valid::Now), Some("signed by none")),
        ] {
            daemon.kill().await;
            daemon.put("server.crt", &certified.certificate);
            daemon.put("server.key", &certified.key);
            daemon.start_again().await;
            let endpoint = format!("https://{address}");
            let remote = Client::builder().endpoint(&endpoint);
            let by_authority = remote.clone().server_authority(authority.certificate()).build()?;
            match (by_authority.server().await, told) {
                (Ok(_), None) => {}
                (Err(error), Some(told)) => {
                    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
                    assert!(error.to_string().contains(told), "{error}");
                }
                (answer, _) => panic!("{answer:?}, where it was to be {told:?}"),
            }
            // Pinned, it is the right one all the same.
            let by_pin = remote.server_certificate(&certified.certificate).build()?;
            by_pin.server().await?;
        }

        // With the authority in its folder, the server takes clients of that alone.
        daemon.kill().await;
        daemon.put("server.crt", &right.certificate);
        daemon.put("server.key", &right.key);
        daemon.put("server.ca", &authority.certificate());
        daemon.start_again().await;
        daemon.configure("core.trust_password", "open sesame").await;
        let remote = Client::builder().endpoint(format!("https://{address}"));
        let remote = remote.server_authority(authority.certificate()).retry_for(Duration::ZERO);
        let signed = identity_of(authority.sign("client", &[], Valid::Now));
        let member = remote.clone().identity(signed).build()?;
        member.become_trusted("signed", "open sesame").await?;
        assert_eq!(member.instances().await?, Vec::<String>::new());
        let outsider = remote.identity(Identity::generate("outsider")?).build()?;
        assert_stranger(outsider.instances().await);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_remotes_of_lxc_can_be_used() {
    with_daemon(|daemon| async move {
        let daemon = daemon.lock().await;
        let address = daemon.listen().await;
        daemon.configure("core.trust_password", "open sesame").await;
        let folder = daemon.configuration();
        let remove = Removed(&folder);
        lxc(
            &daemon,
            &["remote", "add", "lab", &address, "--accept-certificate", "--password", "open sesame"],
        );
        lxc(&daemon, &["project", "create", "ours"]);
        lxc(&daemon, &["project", "switch", "lab:ours"]);
        lxc(&daemon, &["remote", "switch", "lab"]);

        let remotes = Remotes::load_from(&folder)?;
        assert_eq!(remotes.default_name(), "lab");
        assert!(remotes.names().contains(&"lab") && remotes.names().contains(&"local"));
        let lab = remotes.builder("lab")?.build()?;
        assert!(format!("{lab:?}").contains(&format!("https://{address}")), "{lab:?}");
        let one = InstancesPost { devices: root_disk(), ..Place::empty_instance("one") };
        lab.create_instance(one).await?;
        // In the project of the remote.
        assert_eq!(lab.instances().await?, ["/1.0/instances/one?project=ours"]);
        let told = lxc(&daemon, &["list", "--format", "csv", "--columns", "n"]);
        assert_eq!(told.trim(), "one");
        lab.delete_instance("one").await?;
        let error = remotes.builder("images").and_then(ClientBuilder::build).unwrap_err().to_string();
        assert!(error.contains("images"), "{error}");
        drop(remove);
        Ok(())
    })
    .await;
}

/// A folder that is removed in the end.
struct Removed<'a>(&'a Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        // Where it is not there, that is what is wanted.
        let _ = std::fs::remove_dir_all(self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_lets_a_member_in_by_its_token() {
    with_daemon(|daemon| async move {
        let daemon = daemon.lock().await;
        let address = daemon.listen().await;
        let folder = daemon.configuration();
        let _removed = Removed(&folder);
        lxc(&daemon, &["cluster", "enable", "node1"]);
        let token = token(&daemon, &["cluster", "add", "node2"]);
        assert_eq!((token.name(), token.addresses()), ("node2", &[address][..]));
        let identity = Identity::generate("node2")?;
        let member = Client::builder().identity(identity.clone()).join(&token).await?;
        assert_eq!(member.cluster().await?.server_name, "node1");
        let known = daemon.builder().build()?.certificate(&identity.fingerprint()).await?;
        assert_eq!((known.name.as_str(), known.r#type.as_str()), ("node2", "server"));
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_started_again_is_waited_for() {
    with_daemon(|daemon| async move {
        let mut daemon = daemon.lock().await;
        let address = daemon.listen().await;
        let limit = Duration::from_secs(60);
        let local = daemon.builder().retry_for(limit).build()?;
        let remote = pinned(&address).await?;
        let once = remote.clone().retry_for(Duration::ZERO).build()?;
        let patient = remote.retry_for(limit).build()?;
        patient.server_untrusted().await?;
        daemon.kill().await;
        let error = once.server_untrusted().await.unwrap_err();
        assert!(error.to_string().contains("is LXD running there?"), "{error}");
        let waiting = [
            tokio::spawn(async move { local.instances().await.map(drop) }),
            tokio::spawn(async move { patient.server_untrusted().await.map(drop) }),
        ];
        daemon.start_again().await;
        for call in waiting {
            call.await.expect("no panic")?;
        }
        Ok(())
    })
    .await;
}
