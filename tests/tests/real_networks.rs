//! Networks on a real LXD: bridges and their forwards, access lists and zones.

use lxd_client::Error;
use lxd_client::types::{
    InstancePatch, InstanceStatePut, NetworkACLAction, NetworkACLPatch, NetworkACLPost, NetworkACLPut,
    NetworkACLRule, NetworkACLsPost, NetworkForwardPatch, NetworkForwardPort, NetworkForwardPut,
    NetworkForwardsPost, NetworkPatch, NetworkPeerPatch, NetworkPeerPut, NetworkPeersPost, NetworkPost,
    NetworkPut, NetworkStatus, NetworkType, NetworkZonePatch, NetworkZonePut, NetworkZoneRecordEntry,
    NetworkZoneRecordPatch, NetworkZoneRecordPut, NetworkZoneRecordsPost, NetworkZonesPost, NetworksPost,
};
use lxd_tests::real::{Place, map, names, texts, with_project};

/// Makes a bridge, of which an address must be given by hand for it not to need the host's.
async fn bridge(place: &Place, what: &str) -> Result<String, Error> {
    let (name, address) = (place.named(what), format!("{}/24", place.address(1)));
    place
        .lxd
        .create_network(NetworksPost {
            name: name.clone(),
            description: "first".to_owned(),
            r#type: NetworkType::Bridge,
            config: texts([
                ("ipv4.address", &address),
                ("ipv4.nat", "false"),
                ("ipv6.address", "none"),
                ("user.a", "1"),
            ]),
        })
        .await?;
    Ok(name)
}

#[tokio::test]
async fn a_bridge_lives() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let name = &bridge(&place, "a").await?;
        let again = bridge(&place, "a").await.unwrap_err();
        assert!(again.to_string().contains("already exists"), "{again}");
        assert!(names(&lxd.networks().await?).contains(&name.as_str()));
        let read = lxd.network(name).response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        let network = read.value;
        assert_eq!((&network.name, network.managed), (name, true));
        assert_eq!(
            (network.r#type.clone(), network.status.clone()),
            (NetworkType::Bridge, NetworkStatus::Created)
        );
        assert_eq!(network.config["ipv4.address"], format!("{}/24", place.address(1)));
        let state = lxd.networks_state(name).await?;
        assert_eq!((state.r#type.as_str(), state.mtu), ("broadcast", 1500));
        assert!(
            state.addresses.iter().any(|address| address.address == place.address(1).to_string()),
            "{state:?}"
        );
        assert!(state.bridge.is_some_and(|bridge| !bridge.id.is_empty()));
        assert!(state.counters.is_some() && state.bond.is_none() && state.vlan.is_none());
        assert!(lxd.networks_leases(name).await?.iter().all(|lease| lease.location == "none"));

        let mut put = NetworkPut::from(network);
        put.config.insert("user.b".to_owned(), "2".to_owned());
        put.description = String::new();
        lxd.update_network(name, put.clone()).if_match(&etag).await?;
        let late = lxd.update_network(name, put).if_match(&etag).await.unwrap_err();
        assert!(late.is_precondition_failed(), "{late}");
        let patch =
            NetworkPatch { config: Some(map([("user.a", None)])), description: Some("second".to_owned()) };
        lxd.modify_network(name, patch).await?;
        let changed = lxd.network(name).await?;
        assert_eq!((changed.config.get("user.a"), changed.config["user.b"].as_str()), (None, "2"));
        assert_eq!(changed.description, "second");
        assert!(changed.config.contains_key("ipv4.address"));

        let other = place.named("b");
        lxd.rename_network(name, NetworkPost { name: other.clone() }).await?;
        assert!(lxd.network(name).await.unwrap_err().is_not_found());
        lxd.delete_network(&other).await?;
        assert!(lxd.network(&other).await.unwrap_err().is_not_found());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_container_has_an_address_in_a_bridge() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let name = bridge(&place, "a").await?;
        lxd.create_instance(Place::container("one")).await?;
        let address = place.address(20).to_string();
        let nic = texts([("type", "nic"), ("network", &name), ("name", "eth0"), ("ipv4.address", &address)]);
        let devices = Some(map([("eth0", Some(nic))]));
        lxd.modify_instance("one", InstancePatch { devices, ..Default::default() }).await?;
        lxd.update_instance_state("one", InstanceStatePut { action: "start".into(), ..Default::default() })
            .await?;
        let state = lxd.instance_state("one").await?;
        let nic = &state.network["eth0"];
        assert_eq!((nic.r#type.as_str(), nic.mtu), ("broadcast", 1500));
        assert!(!nic.host_name.is_empty() && nic.hwaddr.starts_with("00:16:3e"), "{nic:?}");
        assert!(nic.counters.is_some());
        let leases = lxd.networks_leases(&name).await?;
        let lease = leases.iter().find(|lease| lease.address == address).expect("the lease");
        assert_eq!(
            (lease.hostname.as_str(), lease.r#type.as_str(), &lease.hwaddr),
            ("one", "static", &nic.hwaddr)
        );
        assert_eq!(names(&lxd.network(&name).await?.used_by), ["one"]);
        let in_use = lxd.delete_network(&name).await.unwrap_err();
        assert!(in_use.to_string().contains("in use"), "{in_use}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_forward_lives() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let name = &bridge(&place, "a").await?;
        let listen = &place.address(200).to_string();
        let [target, default] = [20, 21].map(|last| place.address(last).to_string());
        let port = |listen_port: &str| NetworkForwardPort {
            protocol: "tcp".into(),
            listen_port: listen_port.to_owned(),
            target_address: target.clone(),
            target_port: "80".to_owned(),
            ..Default::default()
        };
        lxd.create_network_forward(
            name,
            NetworkForwardsPost {
                listen_address: listen.clone(),
                description: "first".to_owned(),
                config: texts([("target_address", &default), ("user.a", "1")]),
                ports: vec![port("8080")],
            },
        )
        .await?;
        assert_eq!(names(&lxd.network_forwards(name).await?), [listen]);
        let read = lxd.network_forward(name, listen).response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        let forward = read.value;
        assert_eq!((&forward.listen_address, forward.ports.as_slice()), (listen, [port("8080")].as_slice()));
        assert_eq!(lxd.network_forward_recursion1(name).await?, std::slice::from_ref(&forward));

        let put = NetworkForwardPut { ports: vec![port("8080"), port("8081-8082")], ..forward.into() };
        // Several ports have as many targets, or one.
        lxd.update_network_forward(name, listen, put).if_match(&etag).await?;
        let patch = NetworkForwardPatch {
            config: Some(map([("user.a", None)])),
            description: Some("second".to_owned()),
            ports: None,
        };
        lxd.modify_network_forward(name, listen, patch).await?;
        let changed = lxd.network_forward(name, listen).await?;
        assert_eq!((changed.ports.len(), changed.description.as_str()), (2, "second"));
        assert_eq!(changed.config, texts([("target_address", &default)]));
        lxd.modify_network_forward(
            name,
            listen,
            NetworkForwardPatch { config: Some(map([])), ports: Some(Vec::new()), ..Default::default() },
        )
        .await?;
        assert!(lxd.network_forward(name, listen).await?.ports.is_empty());
        lxd.delete_network_forward(name, listen).await?;
        assert!(lxd.network_forward(name, listen).await.unwrap_err().is_not_found());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_access_list_lives() {
    with_project(|place| async move {
        let (lxd, name, other) = (&place.lxd, &place.named("a"), &place.named("b"));
        let rule = NetworkACLRule {
            action: NetworkACLAction::Allow,
            protocol: "tcp".into(),
            destination_port: "80,443".to_owned(),
            state: "enabled".into(),
            ..Default::default()
        };
        let post = NetworkACLsPost {
            name: name.clone(),
            description: "first".to_owned(),
            config: texts([("user.a", "1")]),
            ingress: vec![rule.clone()],
            ..Default::default()
        };
        lxd.create_network_acl(post).await?;
        assert!(names(&lxd.network_acls().await?).contains(&name.as_str()));
        let read = lxd.network_acl(name).response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        let list = read.value;
        assert_eq!((list.ingress.as_slice(), list.egress.len()), ([rule.clone()].as_slice(), 0));
        let put = NetworkACLPut { egress: vec![rule.clone()], ..list.into() };
        lxd.update_network_acl(name, put.clone()).if_match(&etag).await?;
        let late = lxd.update_network_acl(name, put).if_match(&etag).await.unwrap_err();
        assert!(late.is_precondition_failed(), "{late}");
        let patch = NetworkACLPatch {
            config: Some(map([("user.a", None), ("user.b", Some("2".to_owned()))])),
            description: Some(String::new()),
            ingress: Some(vec![rule.clone()]),
            egress: Some(Vec::new()),
        };
        lxd.modify_network_acl(name, patch).await?;
        let changed = lxd.network_acl(name).await?;
        assert_eq!((changed.ingress.as_slice(), changed.egress.len()), ([rule].as_slice(), 0));
        assert_eq!((changed.description.as_str(), changed.config), ("", texts([("user.b", "2")])));
        lxd.rename_network_acl(name, NetworkACLPost { name: other.clone() }).await?;
        assert!(lxd.network_acl(name).await.unwrap_err().is_not_found());
        // Only lists of an OVN network have a log.
        let refused = lxd.network_acl_log(other).await.unwrap_err();
        assert!(refused.status().is_some(), "{refused:?}");
        lxd.delete_network_acl(other).await?;
        assert!(lxd.network_acl(other).await.unwrap_err().is_not_found());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_zone_has_records() {
    with_project(|place| async move {
        let (lxd, zone) = (&place.lxd, &place.named("zone.example.net"));
        let post = NetworkZonesPost {
            name: zone.clone(),
            description: "first".to_owned(),
            config: texts([("dns.nameservers", "ns.example.net")]),
        };
        lxd.create_network_zone(post).await?;
        assert!(names(&lxd.network_zones().await?).contains(&zone.as_str()));
        let read = lxd.network_zone(zone).response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        assert_eq!(read.value.config["dns.nameservers"], "ns.example.net");
        let put = NetworkZonePut { description: String::new(), ..read.value.into() };
        lxd.update_network_zone(zone, put.clone()).if_match(&etag).await?;
        let late = lxd.update_network_zone(zone, put).if_match(&etag).await.unwrap_err();
        assert!(late.is_precondition_failed(), "{late}");
        let patch = NetworkZonePatch {
            config: Some(map([("dns.nameservers", None)])),
            description: Some("second".to_owned()),
        };
        lxd.modify_network_zone(zone, patch).await?;
        let changed = lxd.network_zone(zone).await?;
        assert_eq!((changed.description.as_str(), changed.config), ("second", texts([])));

        let entry =
            |value: &str| NetworkZoneRecordEntry { r#type: "A".to_owned(), ttl: 60, value: value.to_owned() };
        let post = NetworkZoneRecordsPost {
            name: "www".to_owned(),
            entries: vec![entry("10.0.0.1")],
            config: texts([("user.a", "1")]),
            ..Default::default()
        };
        lxd.create_network_zone_record(zone, post).await?;
        assert_eq!(names(&lxd.network_zone_records(zone).await?), ["www"]);
        let read = lxd.network_zone_record(zone, "www").response().await?;
        let etag = read.etag().expect("an ETag").to_owned();
        assert_eq!(read.value.entries, [entry("10.0.0.1")]);
        assert_eq!(lxd.network_zone_records_recursion1(zone).await?, std::slice::from_ref(&read.value));
        let put =
            NetworkZoneRecordPut { entries: vec![entry("10.0.0.2"), entry("10.0.0.3")], ..read.value.into() };
        lxd.update_network_zone_record(zone, "www", put.clone()).if_match(&etag).await?;
        let late = lxd.update_network_zone_record(zone, "www", put).if_match(&etag).await.unwrap_err();
        assert!(late.is_precondition_failed(), "{late}");
        let patch = NetworkZoneRecordPatch {
            config: Some(map([])),
            description: Some("second".to_owned()),
            entries: Some(vec![entry("10.0.0.4")]),
        };
        lxd.modify_network_zone_record(zone, "www", patch).await?;
        let changed = lxd.network_zone_record(zone, "www").await?;
        assert_eq!((changed.entries, changed.description.as_str()), (vec![entry("10.0.0.4")], "second"));
        lxd.delete_network_zone_record(zone, "www").await?;
        assert!(lxd.network_zone_record(zone, "www").await.unwrap_err().is_not_found());
        lxd.delete_network_zone(zone).await?;
        assert!(lxd.network_zone(zone).await.unwrap_err().is_not_found());
        Ok(())
    })
    .await;
}

/// Networks that can have peers are those of OVN, which one machine alone does not have.
#[tokio::test]
async fn a_bridge_has_no_peers() {
    with_project(|place| async move {
        let lxd = &place.lxd;
        let name = &bridge(&place, "a").await?;
        let new = NetworkPeersPost { name: "p".into(), target_network: "x".into(), ..Default::default() };
        for refused in [
            lxd.network_peers(name).await.map(drop),
            lxd.network_peer_recursion1(name).await.map(drop),
            lxd.network_peer(name, "p").await.map(drop),
            lxd.create_network_peer(name, new).await,
            lxd.update_network_peer(name, "p", NetworkPeerPut::default()).await,
            lxd.modify_network_peer(name, "p", NetworkPeerPatch::default()).await,
            lxd.delete_network_peer(name, "p").await,
        ] {
            let refused = refused.unwrap_err();
            assert!(refused.to_string().contains("does not support peering"), "{refused}");
        }
        Ok(())
    })
    .await;
}
