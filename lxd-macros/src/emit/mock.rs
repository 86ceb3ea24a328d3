//! The operations of the model as a table of what a mock server can serve, and as expectations of it. How a call is
//! matched and answered is left to the mock's core, which is written by hand.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::docs;
use super::methods::{answers, result};
use crate::model::{Method, Model, Operation, Ty, TypeKind, identifier};
use crate::read::Answer;

/// The table of what is served, and the expectations.
pub(crate) fn mock(model: &Model) -> TokenStream {
    let methods = || {
        let all = model.operations.iter();
        all.flat_map(|operation| operation.methods.iter().map(move |method| (operation, method)))
    };
    let served = methods().map(|(operation, method)| served(operation, method));
    let expectations = methods().map(|(operation, method)| expectation(operation, method));
    let renamed = renamed(model);
    quote! {
        #[allow(unused_imports)]
        use std::collections::BTreeMap;
        #[allow(unused_imports)]
        use serde_json::Value;
        #[allow(unused_imports)]
        use super::{Expectation, Form, MockLxd, Served, Uploaded, blank};
        #[allow(unused_imports)]
        use crate::{Connection, Events, RawAnswer, WebSocket, types};

        /// The methods of the client.
        pub(super) static METHODS: &[Served] = &[#(#served),*];

        /// The fields that Rust calls otherwise than the wire: type, name on the wire, name.
        pub(super) static RENAMED: &[(&str, &str, &str)] = &[#(#renamed),*];

        /// The operations of the API.
        impl MockLxd {
            #(#expectations)*
        }
    }
}

fn renamed(model: &Model) -> Vec<TokenStream> {
    let mut renamed = Vec::new();
    for known in &model.types {
        let TypeKind::Record(fields) = &known.kind else { continue };
        for field in fields {
            let (of, wire, name) = (&known.name, &field.wire, identifier(&field.name).to_string());
            if name != *wire {
                renamed.push(quote!((#of, #wire, #name)));
            }
        }
    }
    renamed
}

fn served(operation: &Operation, method: &Method) -> TokenStream {
    let (name, id) = (&method.name, &operation.id);
    let (http, path, query) = (operation.http, &operation.path, &operation.fixed_query);
    let json = |ty: &Ty| {
        let ty = super::ty(ty, &quote!(types::));
        quote!(Form::Json(blank::<#ty>))
    };
    let body = match &method.body {
        None => quote!(Form::Nothing),
        Some(body) => body.json.as_ref().map_or_else(|| quote!(Form::Bytes), json),
    };
    let answer = match operation.answer {
        Answer::Raw => quote!(Form::Bytes),
        Answer::Websocket | Answer::Events | Answer::Upgrade => quote!(Form::Connection),
        Answer::Json | Answer::Text if operation.result == Ty::Nothing => quote!(Form::Nothing),
        Answer::Json | Answer::Text => json(&operation.result),
    };
    let answers = answers(operation);
    // Where there are two methods, what is sent tells them apart.
    let has_twin = operation.methods.len() > 1;
    quote! {
        Served {
            name: #name,
            id: #id,
            method: #http,
            path: #path,
            query: #query,
            answers: Answers::#answers,
            body: #body,
            answer: #answer,
            has_twin: #has_twin,
        }
    }
}

fn expectation(operation: &Operation, method: &Method) -> TokenStream {
    let name = &method.name;
    let function = format_ident!("on_{name}");
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
    let (http, path, query) = (operation.http, &operation.path, &operation.fixed_query);
    let mut about = docs::Docs::default();
    let shown = if query.is_empty() { String::new() } else { format!("?{query}") };
    about.markdown(format!("What is to come of [`Client::{name}`](crate::Client::{name})."));
    about.markdown(format!("`{http} {path}{shown}`"));
    let about = about.tokens("");
    quote! {
        #about
        #deprecated
        pub fn #function(&self, #(#arguments: &str),*) -> Expectation<#body, #result> {
            self.expect(#name, &[#(#arguments),*])
        }
    }
}
