//! What a server can do: the API extensions that it lists.

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
            let mut server = Server::default();
            Request::new(Sent::Nothing, client, &SERVER, &[]).exchange().await?.read(&mut server)?;
            Ok(server.api_extensions.into_iter().collect())
        };
        Ok(self.names.get_or_try_init(fetch).await?.contains(name))
    }
}

#[derive(Default)]
struct Server {
    api_extensions: Vec<String>,
}

impl Read for Server {
    fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
        wire::read_fields(self, value)
    }

    fn field(&mut self, name: &str) -> Option<&mut dyn Read> {
        (name == "api_extensions").then_some(&mut self.api_extensions as _)
    }
}
