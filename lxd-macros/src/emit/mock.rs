//! The operations of the model as expectations of a mock server. How a call is matched and answered is left to
//! the mock's core, which is written by hand.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::docs;
use super::methods::{answers, result};
use crate::model::{Method, Model, Operation, identifier};

/// The expectations.
pub(crate) fn mock(model: &Model) -> TokenStream {
    let expectations = model
        .operations
        .iter()
        .flat_map(|operation| operation.methods.iter().map(|method| self::expectation(operation, method)));
    quote! {
        #[allow(unused_imports)]
        use std::collections::BTreeMap;
        #[allow(unused_imports)]
        use serde_json::Value;
        #[allow(unused_imports)]
        use super::{Expectation, MockLxd, Served, Uploaded};
        #[allow(unused_imports)]
        use crate::{Connection, Events, RawAnswer, WebSocket, types};

        /// The operations of the API.
        impl MockLxd {
            #(#expectations)*
        }
    }
}

fn expectation(operation: &Operation, method: &Method) -> TokenStream {
    let name = format_ident!("on_{}", method.name);
    let deprecated = operation.deprecated.then(|| quote!(#[allow(deprecated)]));
    let arguments: Vec<_> = operation.arguments.iter().map(|known| identifier(&known.name)).collect();
    let body = match &method.body {
        None => quote!(()),
        Some(body) => match &body.json {
            Some(ty) => super::ty(ty, &quote!(types::)),
            None => quote!(Uploaded),
        },
    };
    let result = result(operation);
    let (id, http, path, query) = (&operation.id, operation.http, &operation.path, &operation.fixed_query);
    let answers = answers(operation);
    // Where there are two methods, what is sent tells them apart.
    let json = match &method.body {
        Some(body) if operation.methods.len() > 1 => {
            let is_json = body.json.is_some();
            quote!(Some(#is_json))
        }
        _ => quote!(None),
    };
    let mut about = docs::Docs::default();
    let shown = if query.is_empty() { String::new() } else { format!("?{query}") };
    about.markdown(format!("What is to come of [`Client::{0}`](crate::Client::{0}).", method.name));
    about.markdown(format!("`{http} {path}{shown}`"));
    let about = about.tokens("");
    quote! {
        #about
        #deprecated
        pub fn #name(&self, #(#arguments: &str),*) -> Expectation<#body, #result> {
            self.expect(
                &Served {
                    id: #id,
                    method: #http,
                    path: #path,
                    query: #query,
                    json: #json,
                    answers: Answers::#answers,
                },
                &[#(#arguments),*],
            )
        }
    }
}
