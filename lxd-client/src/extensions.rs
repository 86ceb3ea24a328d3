//! What a server says of itself: the API extensions that it lists, and whether it trusts the client.

use std::collections::HashSet;

use lxd_types::wire::{self, Incoming, Read, Refused};
use tokio::sync::OnceCell;

use crate::call::{Answers, Endpoint, Request, Sent};
use crate::client::Client;
use crate::error::Error;

/// `GET /1.0`, of which the core wants only a part.
pub(crate) static SERVER: Endpoint = Endpoint {
    id: "server_get",
    method: "GET",
    path: "/1.0",
    query: "",
    answers: Answers::Value,
    project: false,
    target: false,
    background: false,
};

/// The extensions of a server, once they have been asked for.
#[derive(Default)]
pub(crate) struct Extensions {
    names: OnceCell<HashSet<String>>,
}

impl Extensions {
    pub(crate) async fn have(&self, client: &Client, name: &str) -> Result<bool, Error> {
        let fetch = || async {
            Ok(Server::told(Server::question(client)).await?.api_extensions.into_iter().collect())
        };
        Ok(self.names.get_or_try_init(fetch).await?.contains(name))
    }
}

/// What a server says of itself, to anybody.
#[derive(Default)]
pub(crate) struct Server {
    pub(crate) api_extensions: Vec<String>,
    auth: String,
}

impl Server {
    /// The request that asks for it.
    pub(crate) fn question(client: &Client) -> Box<Request> {
        Request::new(Sent::Nothing, client, &SERVER, &[])
    }

    /// What is answered to that.
    pub(crate) async fn told(question: Box<Request>) -> Result<Self, Error> {
        let mut server = Self::default();
        question.exchange().await?.read(&mut server)?;
        Ok(server)
    }

    /// Whether it trusts the client.
    pub(crate) fn trusts(&self) -> bool {
        self.auth == "trusted"
    }
}

impl Read for Server {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        wire::read_fields(self, value)
    }

    fn field(&mut self, name: &str) -> Option<&mut dyn Read> {
        Some(match name {
            "api_extensions" => &mut self.api_extensions,
            "auth" => &mut self.auth,
            _ => return None,
        })
    }
}
