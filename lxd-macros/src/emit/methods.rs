//! The operations of the model as methods of the client, and the sets of parameters as markers of
//! its calls. How a call is made is left to the client's core, which is written by hand.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use super::docs;
use crate::model::{Method, Model, Operation, Parameter, ParameterTy, Place, Ty, identifier};
use crate::read::Answer;

/// The methods and the markers.
pub(crate) fn methods(model: &Model) -> TokenStream {
    let methods = model
        .operations
        .iter()
        .flat_map(|operation| operation.methods.iter().map(|method| self::method(model, operation, method)));
    let markers = model.parameter_sets.iter().map(|set| {
        let name = identifier(&set.name);
        let names: Vec<_> = set.parameters.iter().map(|known| format!("`{}`", known.name)).collect();
        let about = format!(" Calls that take {}.", names.join(", "));
        quote! {
            #[doc = #about]
            #[derive(Debug)]
            pub enum #name {}
        }
    });
    let setters = model.parameter_sets.iter().map(|set| {
        let name = identifier(&set.name);
        let setters = set.parameters.iter().map(setter);
        quote! {
            /// Parameters of the call.
            impl<T> Call<T, parameters::#name> {
                #(#setters)*
            }
        }
    });
    let paths = paths(model);
    quote! {
        #[allow(unused_imports)]
        use std::collections::BTreeMap;
        #[allow(unused_imports)]
        use serde_json::Value;
        #[allow(unused_imports)]
        use crate::body::Body;
        #[allow(unused_imports)]
        use crate::call::{Answers, Call, Endpoint, NoParameters, Request, Sent};
        #[allow(unused_imports)]
        use crate::types::wire::Body as _;
        #[allow(unused_imports)]
        use crate::{Client, Connection, Events, RawAnswer, WebSocket, types};

        /// Which parameters a call takes: each is a setter of
        /// [`Call`], which has the ones of its marker.
        pub mod parameters {
            #(#markers)*
        }

        #paths

        #(#setters)*

        /// The operations of the API.
        impl Client {
            #(#methods)*
        }
    }
}

/// A page of the documentation, from the paths of the API to the methods.
fn paths(model: &Model) -> TokenStream {
    let rows = model.operations.iter().flat_map(|operation| {
        let query = if operation.fixed_query.is_empty() { "" } else { "?" };
        let call = format!("{} {}{query}{}", operation.http, operation.path, operation.fixed_query);
        operation.methods.iter().map(move |method| {
            let name = &method.name;
            format!(" | `{call}` | [`{name}`](crate::Client::{name}) |")
        })
    });
    quote! {
        /// The methods of [`Client`] by the call of the API that each makes.
        ///
        /// | call | method |
        /// |---|---|
        #(#[doc = #rows])*
        #[cfg(doc)]
        pub mod rest {}
    }
}

fn setter(parameter: &Parameter) -> TokenStream {
    let name = identifier(&parameter.name);
    let wire = &parameter.wire;
    let about = docs::text(&parameter.description, &format!("Sets `{wire}`."));
    let plain = match parameter.place {
        Place::Query => quote!(query),
        Place::Header | Place::Body => quote!(header_value),
    };
    let (ty, set) = match &parameter.ty {
        ParameterTy::Text => (quote!(&str), quote!(self.#plain(#wire, &#name))),
        ParameterTy::Boolean => (quote!(bool), quote!(self.#plain(#wire, &#name))),
        ParameterTy::Integer(integer) => {
            let integer = identifier(integer);
            (quote!(#integer), quote!(self.#plain(#wire, &#name)))
        }
        ParameterTy::Octal => (quote!(u32), quote!(self.#plain(#wire, &format_args!("0{:03o}", #name)))),
        ParameterTy::List => {
            let item = parameter.wire.rsplit('-').next().unwrap_or_default();
            let item = crate::model::singular(item);
            match parameter.place {
                Place::Query => (quote!(&[&str]), quote!(self.query_list(#wire, #name))),
                _ => (quote!(&[&str]), quote!(self.header_list(#wire, #item, #name))),
            }
        }
        ParameterTy::Map => (quote!(&BTreeMap<String, String>), quote!(self.header_map(#wire, #name))),
        ParameterTy::Json(ty) => {
            let ty = super::ty(ty, &quote!(types::));
            (ty, quote!(self.json(#name.into_json())))
        }
    };
    quote! {
        #about
        pub fn #name(self, #name: #ty) -> Self {
            #set
        }
    }
}

fn method(model: &Model, operation: &Operation, method: &Method) -> TokenStream {
    let name = identifier(&method.name);
    let about = method_docs(model, operation, method);
    let deprecated = operation.deprecated.then(|| quote!(#[deprecated]));
    let arguments: Vec<_> = operation.arguments.iter().map(|known| identifier(&known.name)).collect();
    let (body_argument, body) = match &method.body {
        None => (None, quote!(Sent::Nothing)),
        Some(body) => {
            let argument = identifier(&body.name);
            match &body.json {
                Some(ty) => {
                    let ty = super::ty(ty, &quote!(types::));
                    (Some(quote!(#argument: #ty)), quote!(Sent::Json(#argument.into_json())))
                }
                None => (Some(quote!(#argument: impl Into<Body>)), quote!(Sent::Bytes(#argument.into()))),
            }
        }
    };
    let result = result(operation);
    let set = model.parameters_of(operation);
    let parameters = match set {
        Some(set) => {
            let set = identifier(&set.name);
            quote!(parameters::#set)
        }
        None => quote!(NoParameters),
    };
    let (id, http, path) = (&operation.id, operation.http, &operation.path);
    let background = operation.background;
    let query = &operation.fixed_query;
    let answers = answers(operation);
    let takes = |name: &str| set.is_some_and(|set| set.parameters.iter().any(|known| known.wire == name));
    let (project, target) = (takes("project"), takes("target"));
    quote! {
        #about
        #deprecated
        pub fn #name(&self, #(#arguments: &str,)* #body_argument) -> Call<#result, #parameters> {
            Call::of(Request::new(
                #body,
                self,
                &Endpoint {
                    id: #id,
                    method: #http,
                    path: #path,
                    query: #query,
                    answers: Answers::#answers,
                    project: #project,
                    target: #target,
                    background: #background,
                },
                &[#(#arguments),*],
            ))
        }
    }
}

/// How the answer comes, as the core calls it.
pub(super) fn answers(operation: &Operation) -> Ident {
    identifier(match (operation.answer, operation.in_operation) {
        (Answer::Json, false) if operation.result == Ty::Nothing => "Nothing",
        (Answer::Json, false) => "Value",
        (Answer::Json, true) => "OperationMetadata",
        (Answer::Text, _) => "Text",
        (Answer::Raw, _) => "Raw",
        (Answer::Websocket, _) => "WebSocket",
        (Answer::Events, _) => "Events",
        (Answer::Upgrade, _) => "Connection",
    })
}

/// What a call answers with.
pub(super) fn result(operation: &Operation) -> TokenStream {
    match operation.answer {
        Answer::Raw => quote!(RawAnswer),
        Answer::Websocket => quote!(WebSocket),
        Answer::Events => quote!(Events),
        Answer::Upgrade => quote!(Connection),
        Answer::Json | Answer::Text => super::ty(&operation.result, &quote!(types::)),
    }
}

fn method_docs(model: &Model, operation: &Operation, method: &Method) -> TokenStream {
    let mut docs = docs::Docs::default();
    docs.text(&sentence(&operation.summary));
    if operation.description.trim() != operation.summary.trim() {
        docs.text(&operation.description);
    }
    let query =
        if operation.fixed_query.is_empty() { String::new() } else { format!("?{}", operation.fixed_query) };
    docs.markdown(format!("`{} {}{query}`", operation.http, operation.path));
    for argument in &operation.arguments {
        docs.item(&format!("`{}`", argument.name), &argument.description);
    }
    if let Some(body) = &method.body {
        docs.item(&format!("`{}`", body.name), &body.description);
    }
    if let Some(set) = model.parameters_of(operation) {
        docs.markdown("Setters:");
        for (parameter, description) in set.parameters.iter().zip(&operation.parameter_descriptions) {
            docs.item(&format!("`{}`", parameter.name), description);
        }
    }
    docs.markdown(format!("Answers with {}.", answer(operation)));
    if let Some(extension) = &operation.extension {
        docs.markdown(format!("The server needs the API extension `{extension}`."));
    }
    docs.tokens("")
}

fn answer(operation: &Operation) -> String {
    let value = match super::types::named(&operation.result) {
        Some(name) => format!("[`{}`](types::{name})", operation.result),
        None => format!("`{}`", operation.result),
    };
    match operation.answer {
        Answer::Json if operation.in_operation => format!("{value}, once the background operation is done"),
        Answer::Json if operation.result == Ty::Nothing => "nothing, once all is done".to_owned(),
        Answer::Json => value,
        Answer::Text => "the text".to_owned(),
        Answer::Raw => "bytes, see [`RawAnswer`]".to_owned(),
        Answer::Websocket => "a [`WebSocket`]".to_owned(),
        Answer::Events => "a stream of [`Events`]".to_owned(),
        Answer::Upgrade => "a [`Connection`] that speaks another protocol from here on".to_owned(),
    }
}

fn sentence(summary: &str) -> String {
    let summary = summary.trim();
    if summary.is_empty() || summary.ends_with('.') { summary.to_owned() } else { format!("{summary}.") }
}
