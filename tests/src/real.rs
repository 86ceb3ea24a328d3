//! The way to a real LXD: a client of it, and for each test a place of its own there that is emptied
//! afterwards. To start the server is left to `tests/with-lxd`.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use lxd_client::types::{
    InstanceAction, InstanceSource, InstanceStatePut, InstancesPost, ProfilePut, ProjectsPost, SourceType,
};
use lxd_client::{Client, Error};

/// What a test has of the server: a project of its own, with a pool behind its default profile and the
/// images of the project `default`, such as `busybox`.
///
/// What else a test makes (projects, networks, access lists, zones, pools, certificates, aliases) must have a name
/// from [`named`](Self::named): it is by their names that all of them are removed afterwards.
#[derive(Clone, Debug)]
pub struct Place {
    /// The name of the project, which no other test has.
    pub name: String,
    /// A client in this project.
    pub lxd: Client,
    number: u32,
}

/// Runs a test with a place of its own, and empties that however the test ends.
///
/// # Panics
///
/// With what the test failed with; and where no LXD answers.
pub async fn with_project<F>(body: impl FnOnce(Place) -> F)
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let place = Place::make().await;
    finally(body(place.clone()), async move { place.empty().await }).await;
}

/// Runs the body of a test and then what cleans up after it, also where the body panics. (To clean up
/// takes calls, so `Drop` cannot do it.)
///
/// # Panics
///
/// With what the body failed with, or else with what failed to clean up.
pub async fn finally<F>(body: F, clean_up: impl Future<Output = Result<(), Error>>)
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let ended = tokio::spawn(body).await;
    let cleaned = clean_up.await;
    match (ended, cleaned) {
        (Ok(Ok(())), Ok(())) => {}
        (Ok(Ok(())), Err(error)) => panic!("cannot clean up: {error}"),
        (Ok(Err(error)), _) => panic!("{error}"),
        (Err(error), _) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A client of the server in a project.
///
/// # Panics
///
/// Where the environment does not say which server.
pub fn client(project: &str) -> Client {
    let endpoint = format!("unix://{}", socket());
    Client::builder().endpoint(endpoint).project(project).build().expect("a path is an endpoint")
}

/// The path of the server's socket.
///
/// # Panics
///
/// Where the environment does not say which server.
pub fn socket() -> String {
    std::env::var("LXD_SOCKET").unwrap_or_else(|_| panic!("LXD_SOCKET is not set; {ADVICE}"))
}

const ADVICE: &str = "start a real LXD for the tests with `tests/with-lxd cargo test --workspace`";

/// The names of the objects behind the URLs of a list.
pub fn names(urls: &[String]) -> Vec<&str> {
    let path = |url| str::split(url, '?').next().unwrap_or_default();
    urls.iter().map(|url| path(url).rsplit('/').next().unwrap_or_default()).collect()
}

/// A map of texts, such as a configuration.
pub fn texts<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    map(entries.map(|(key, value)| (key, value.to_owned())))
}

/// A map.
pub fn map<V, const N: usize>(entries: [(&str, V); N]) -> BTreeMap<String, V> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The devices that an instance needs where its profiles have none.
pub fn root_disk() -> BTreeMap<String, BTreeMap<String, String>> {
    map([("root", texts([("type", "disk"), ("path", "/"), ("pool", "default")]))])
}

impl Place {
    async fn make() -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        // Short, for the name of a network has 15 letters at most.
        let name = format!("t{:x}x{number}", std::process::id());
        let place = Self { lxd: client(&name), name, number };
        let project = ProjectsPost {
            name: place.name.clone(),
            config: texts([("features.images", "false")]),
            ..Default::default()
        };
        if let Err(error) = place.lxd.create_project(project).await {
            panic!("{error}; {ADVICE}");
        }
        let profile = ProfilePut { devices: root_disk(), ..Default::default() };
        place.lxd.update_profile("default", profile).await.expect("the profile of a new project");
        place
    }

    /// A name for an object outside of the project.
    pub fn named(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    /// A range of addresses for a network, which no other test has: the address with this last number.
    pub fn address(&self, last: u8) -> Ipv4Addr {
        let [.., process] = std::process::id().to_le_bytes().map(|byte| byte % 200 + 20);
        let [test, ..] = self.number.to_le_bytes();
        Ipv4Addr::new(10, process, test, last)
    }

    /// What makes an instance without anything in it, which is quick but cannot be started.
    pub fn empty_instance(name: &str) -> InstancesPost {
        let source = InstanceSource { r#type: SourceType::None, ..Default::default() };
        InstancesPost { name: name.to_owned(), source: Some(source), ..Default::default() }
    }

    /// What makes a container that can run.
    pub fn container(name: &str) -> InstancesPost {
        let source =
            InstanceSource { r#type: SourceType::Image, alias: "busybox".to_owned(), ..Default::default() };
        InstancesPost { name: name.to_owned(), source: Some(source), ..Default::default() }
    }

    /// Makes a project that has images of its own, and a client in it.
    pub async fn project_with_images(&self) -> Result<Client, Error> {
        let name = self.named("images");
        self.lxd.create_project(ProjectsPost { name: name.clone(), ..Default::default() }).await?;
        let lxd = client(&name);
        lxd.update_profile("default", ProfilePut { devices: root_disk(), ..Default::default() }).await?;
        Ok(lxd)
    }

    /// A small image that no other test has, as the server keeps the file of an image only once.
    pub async fn image_of_its_own(&self) -> Result<Vec<u8>, Error> {
        let alias = self.lxd.image_alias("busybox").await?;
        let mut image: Vec<u8> = self.lxd.image_export(&alias.target).await?.bytes().await?.into();
        // An empty part at the end changes nothing in the archive; its time makes it another file.
        image.extend([0x1f, 0x8b, 8, 0]);
        image.extend(&self.address(1).octets());
        image.extend([0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        Ok(image)
    }

    /// Makes a container and starts it.
    pub async fn running_container(&self, name: &str) -> Result<(), Error> {
        self.lxd.create_instance(Self::container(name)).await?;
        self.change(name, InstanceAction::Start).await
    }

    /// Changes the state of an instance; stops and restarts by force, as nothing in it would listen.
    pub async fn change(&self, name: &str, action: InstanceAction) -> Result<(), Error> {
        let force = matches!(action, InstanceAction::Stop | InstanceAction::Restart);
        let state = InstanceStatePut { action, force, timeout: 30, ..Default::default() };
        self.lxd.update_instance_state(name, state).await
    }

    fn owns(&self, name: &str) -> bool {
        name.strip_prefix(&self.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// Removes all that the test made. Other tests make and remove things meanwhile: what is gone when it
    /// is its turn is none of ours.
    async fn empty(&self) -> Result<(), Error> {
        let lxd = &self.lxd;
        for name in names(&lxd.projects().await?) {
            if self.owns(name) {
                empty_project(name).await?;
                gone(lxd.delete_project(name).await)?;
            }
        }
        for name in names(&lxd.networks().project("default").await?) {
            if self.owns(name) {
                gone(lxd.delete_network(name).project("default").await)?;
            }
        }
        for name in names(&lxd.network_acls().project("default").await?) {
            if self.owns(name) {
                gone(lxd.delete_network_acl(name).project("default").await)?;
            }
        }
        for name in names(&lxd.network_zones().project("default").await?) {
            if self.owns(name) {
                gone(lxd.delete_network_zone(name).project("default").await)?;
            }
        }
        for name in names(&lxd.storage_pools().await?) {
            if self.owns(name) {
                gone(lxd.delete_storage_pools(name).await)?;
            }
        }
        for name in names(&lxd.images_aliases().project("default").await?) {
            if self.owns(name) {
                gone(lxd.delete_image_alias(name).project("default").await)?;
            }
        }
        for fingerprint in names(&lxd.certificates().await?) {
            match lxd.certificate(fingerprint).await {
                Ok(certificate) if self.owns(&certificate.name) => {
                    gone(lxd.delete_certificate(fingerprint).await)?;
                }
                other => gone(other.map(drop))?,
            }
        }
        Ok(())
    }
}

async fn empty_project(name: &str) -> Result<(), Error> {
    let lxd = client(name);
    let project = lxd.project(name).await?;
    for instance in lxd.instances_recursion1().await? {
        if instance.status != "Stopped" {
            let stop = InstanceStatePut {
                action: InstanceAction::Stop,
                force: true,
                timeout: 30,
                ..Default::default()
            };
            lxd.update_instance_state(&instance.name, stop).await?;
        }
        gone(lxd.delete_instance(&instance.name).await)?;
    }
    if project.config.get("features.images").is_some_and(|value| value == "true") {
        for fingerprint in names(&lxd.images().await?) {
            gone(lxd.delete_image(fingerprint).await)?;
        }
    }
    for pool in names(&lxd.storage_pools().await?) {
        match lxd.storage_pool_volumes_type_recursion1(pool, "custom").await {
            // Snapshots, which are in the list too, go with their volume.
            Ok(volumes) => {
                for volume in volumes.iter().filter(|volume| !volume.name.contains('/')) {
                    gone(lxd.delete_storage_pool_volume_type(pool, "custom", &volume.name).await)?;
                }
            }
            other => gone(other.map(drop))?,
        }
    }
    for profile in names(&lxd.profiles().await?) {
        if profile == "default" {
            lxd.update_profile(profile, ProfilePut::default()).await?;
        } else {
            gone(lxd.delete_profile(profile).await)?;
        }
    }
    Ok(())
}

fn gone(removed: Result<(), Error>) -> Result<(), Error> {
    match removed {
        Err(error) if error.is_not_found() => Ok(()),
        removed => removed,
    }
}
