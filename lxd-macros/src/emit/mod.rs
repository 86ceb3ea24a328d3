//! The model as code. Nothing is decided here: each emitter writes down what the model says.

mod docs;
mod methods;
mod mock;
mod types;

pub(crate) use methods::methods;
pub(crate) use mock::mock;
pub(crate) use types::types;

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Ty, identifier};

/// A type as code; `types` is the path to the named ones, with its colons.
fn ty(ty: &Ty, types: &TokenStream) -> TokenStream {
    let inner = |inner: &Ty| self::ty(inner, types);
    match ty {
        Ty::Text => quote!(String),
        Ty::Boolean => quote!(bool),
        Ty::Integer(name) => {
            let name = identifier(name);
            quote!(#name)
        }
        Ty::Float => quote!(f64),
        Ty::Time => quote!(Option<Timestamp>),
        Ty::Any => quote!(Value),
        Ty::Nothing => quote!(()),
        Ty::Named(name) => {
            let name = identifier(name);
            quote!(#types #name)
        }
        Ty::List(item) => {
            let item = inner(item);
            quote!(Vec<#item>)
        }
        Ty::Map(value) => {
            let value = inner(value);
            quote!(BTreeMap<String, #value>)
        }
        Ty::Option(value) => {
            let value = inner(value);
            quote!(Option<#value>)
        }
        Ty::Boxed(value) => {
            let value = inner(value);
            quote!(Box<#value>)
        }
    }
}
