//! Clusters, of daemons of a test's own: one of one member, which another one joins and leaves.

use lxd_client::types::{
    ClusterCertificatePut, ClusterGroupPatch, ClusterGroupPost, ClusterGroupPut, ClusterGroupsPost,
    ClusterMemberPatch, ClusterMemberPost, ClusterMemberPut, ClusterMemberStatePost, ClusterMembersPost,
    ClusterPut,
};
use lxd_client::{Client, Error};
use lxd_tests::daemon::{Daemon, with_daemon, with_two_daemons};
use lxd_tests::real::{names, texts};
use lxd_tests::twice::{lost, some};
use serde_json::json;

/// Makes a cluster of one server.
async fn bootstrap(lxd: &Client, name: &str) -> Result<(), Error> {
    lxd.update_cluster(ClusterPut { server_name: name.into(), enabled: true, ..Default::default() }).await
}

#[tokio::test]
async fn a_cluster_of_one() {
    with_daemon(|daemon| async move {
        let daemon: &Daemon = &*daemon.lock().await;
        daemon.listen().await;
        let (socket, lxd) = (daemon.socket(), daemon.builder().build()?);
        assert!(!lxd.cluster().await?.enabled);
        let alone = lxd.cluster_members().await.unwrap_err();
        assert!(alone.to_string().contains("not clustered"), "{alone}");
        bootstrap(&lxd, "m1").await?;

        let cluster = some(&socket, "/1.0/cluster", || lxd.cluster()).await?;
        assert!(cluster.enabled && cluster.server_name == "m1", "{cluster:?}");
        assert_eq!(cluster.member_config[0].entity, "storage-pool");
        let members = some(&socket, "/1.0/cluster/members", || lxd.cluster_members()).await?;
        assert_eq!(names(&members), ["m1"]);
        let path = "/1.0/cluster/members?recursion=1";
        let members = some(&socket, path, || lxd.cluster_members_recursion1()).await?;
        assert_eq!(members[0].status, "Online");
        let member = some(&socket, "/1.0/cluster/members/m1", || lxd.cluster_member("m1")).await?;
        assert!(member.database && member.roles.contains(&"database".to_owned()), "{member:?}");

        let put = ClusterMemberPut {
            description: "the first".into(),
            failure_domain: "rack1".into(),
            config: texts([("user.a", "1")]),
            ..ClusterMemberPut::from(member)
        };
        lxd.update_cluster_member("m1", put.clone()).await?;
        let member = lxd.cluster_member("m1").await?;
        assert_eq!((member.failure_domain.as_str(), &member.config["user.a"][..]), ("rack1", "1"));
        // This one wants all that it does not change, too.
        let patch = ClusterMemberPatch {
            description: Some("changed".into()),
            roles: Some(put.roles),
            failure_domain: Some(put.failure_domain),
            groups: Some(put.groups),
            ..Default::default()
        };
        lxd.modify_cluster_member("m1", patch).await?;
        assert_eq!(lxd.cluster_member("m1").await?.description, "changed");
        let unknown = lxd.cluster_member("m9").await.unwrap_err();
        assert!(unknown.is_not_found(), "{unknown}");

        lxd.rename_cluster_member("m1", ClusterMemberPost { server_name: "m2".into() }).await?;
        assert_eq!(names(&lxd.cluster_members().await?), ["m2"]);
        let last = lxd.delete_cluster_member("m2").await.unwrap_err();
        assert!(last.status().is_some(), "{last}");
        groups(&socket, &lxd).await?;

        let state = |action: &str| ClusterMemberStatePost { action: action.into(), ..Default::default() };
        lxd.restore_cluster_member_state("m2", state("evacuate")).await?;
        assert_eq!(lxd.cluster_member("m2").await?.status, "Evacuated");
        lxd.restore_cluster_member_state("m2", state("restore")).await?;
        assert_eq!(lxd.cluster_member("m2").await?.status, "Online");

        // Where a token is asked for, it is at once what the operation stands for.
        let token = ClusterMembersPost { server_name: "m3".into() };
        let operation = lxd.add_cluster_member(token).start().await?;
        let token = operation.wait().await?;
        assert!(lost(&operation.metadata(), &token).is_empty(), "{}", operation.metadata());
        assert_eq!(token.server_name, "m3");
        assert!(!token.secret.is_empty() && token.fingerprint.len() == 64 && token.expires_at.is_some());

        let unusable = ClusterCertificatePut { cluster_certificate: "no".into(), ..Default::default() };
        let unusable = lxd.clustering_update_cert(unusable).await.unwrap_err();
        assert_eq!(unusable.status(), Some(400), "{unusable}");
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = certificate.self_signed(&key).expect("a certificate").pem();
        lxd.clustering_update_cert(ClusterCertificatePut {
            cluster_certificate: certificate.clone(),
            cluster_certificate_key: key.serialize_pem(),
        })
        .await?;
        let shown = lxd.server().await?.environment.unwrap_or_default().certificate;
        assert_eq!(shown.trim(), certificate.trim());
        Ok(())
    })
    .await;
}

async fn groups(socket: &str, lxd: &Client) -> Result<(), Error> {
    let new = ClusterGroupsPost { name: "g1".into(), description: "a group".into(), members: Vec::new() };
    lxd.create_cluster_group(new).await?;
    let path = "/1.0/cluster/groups";
    assert_eq!(names(&some(socket, path, || lxd.cluster_groups()).await?), ["default", "g1"]);
    some(socket, &format!("{path}?recursion=1"), || lxd.cluster_groups_recursion1()).await?;
    let group = some(socket, &format!("{path}/g1"), || lxd.cluster_group("g1")).await?;
    assert_eq!((group.description.as_str(), group.members.len()), ("a group", 0));
    let put = ClusterGroupPut { members: vec!["m2".into()], ..ClusterGroupPut::from(group) };
    lxd.update_cluster_group("g1", put).await?;
    lxd.modify_cluster_group(
        "g1",
        ClusterGroupPatch { description: Some("changed".into()), ..Default::default() },
    )
    .await?;
    lxd.rename_cluster_group("g1", ClusterGroupPost { name: "g2".into() }).await?;
    let group = lxd.cluster_group("g2").await?;
    assert_eq!((group.description.as_str(), &group.members[..]), ("changed", &["m2".to_owned()][..]));
    assert!(lxd.cluster_member("m2").await?.groups.contains(&"g2".to_owned()));
    let busy = lxd.delete_cluster_group("g2").await.unwrap_err();
    assert!(busy.to_string().contains("Only empty cluster groups"), "{busy}");
    lxd.update_cluster_group("g2", ClusterGroupPut::default()).await?;
    lxd.delete_cluster_group("g2").await?;
    assert_eq!(names(&lxd.cluster_groups().await?), ["default"]);
    Ok(())
}

#[tokio::test]
async fn a_member_joins_and_leaves() {
    with_two_daemons(|one, other, [socket, _]| async move {
        bootstrap(&one, "m1").await?;
        let token = ClusterMembersPost { server_name: "m2".into() };
        let token = one.add_cluster_member(token).await?;
        // As `lxc cluster add` shows it.
        let shown = json!({
            "server_name": token.server_name, "fingerprint": token.fingerprint, "addresses": token.addresses,
            "secret": token.secret, "expires_at": token.expires_at.map(|time| time.to_string()),
        });
        let address = other.server().await?.config["core.https_address"].to_string().replace('"', "");
        let certificate = one.server().await?.environment.unwrap_or_default().certificate;
        let pool = lxd_client::types::ClusterMemberConfigKey {
            entity: "storage-pool".into(),
            name: "default".into(),
            key: "source".into(),
            ..Default::default()
        };
        // What is there has to go first.
        other.update_profile("default", Default::default()).await?;
        other.delete_storage_pools("default").await?;
        let join = ClusterPut {
            server_name: "m2".into(),
            enabled: true,
            server_address: address,
            cluster_address: token.addresses[0].clone(),
            cluster_certificate: certificate,
            cluster_password: lxd_tests::base64(shown.to_string().as_bytes()),
            member_config: vec![pool],
            ..Default::default()
        };
        other.update_cluster(join).await?;
        let members =
            some(&socket, "/1.0/cluster/members?recursion=1", || one.cluster_members_recursion1()).await?;
        let mut known: Vec<_> = members.iter().map(|member| member.server_name.as_str()).collect();
        known.sort_unstable();
        assert_eq!(known, ["m1", "m2"]);
        // The same client for one member: where an instance is made is told.
        let there = one.use_target("m2");
        there.create_instance(lxd_tests::real::Place::empty_instance("t1")).await?;
        assert_eq!(one.instance("t1").await?.location, "m2");
        let busy = one.delete_cluster_member("m2").await.unwrap_err();
        assert!(busy.to_string().contains("Node still has"), "{busy}");
        one.delete_instance("t1").await?;
        one.delete_cluster_member("m2").await?;
        assert_eq!(names(&one.cluster_members().await?), ["m1"]);
        Ok(())
    })
    .await;
}
