//! The generator behind [`lxd-types`](https://docs.rs/lxd-types) and
//! [`lxd-client`](https://docs.rs/lxd-client): [`lxd_api!`] reads LXD's published API description
//! when a crate is compiled and expands into its types or its methods.
//!
//! A description passes through stages, each a module of its own:
//!
//! | stage | from | to |
//! |---|---|---|
//! | `read` | files | trees whose nodes know their place; the overlay |
//! | `repair` | the tree of a published file | the tree without that file's known faults |
//! | `lower` | Swagger 2.0 or OpenAPI 3.0 | the `openapiv3` model |
//! | `model` | that and the overlay | types, methods and their Rust names |
//! | `emit` | the model | code |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod emit;
mod lower;
mod model;
mod pipeline;
mod problem;
#[cfg(test)]
mod public_api;
mod read;
mod repair;

use syn::parse::{Parse, ParseStream};

/// Expands an API description into types, methods or the expectations of a mock server.
///
/// ```text
/// lxd_macros::lxd_api!("spec/rest-api.yaml", types);
/// lxd_macros::lxd_api!("spec/rest-api.yaml", methods);
/// lxd_macros::lxd_api!("spec/rest-api.yaml", mock);
/// ```
///
/// The path is relative to the `Cargo.toml` of the crate that is compiled; `overlay.yaml` in the same
/// folder says what the description does not. A change of either recompiles the crate. `types` needs
/// the `wire` module of lxd-types around it, and `methods` and `mock` the core of lxd-client.
///
/// A description that cannot be used is a compile error at the path, which names each fault with its
/// file, line and JSON pointer.
#[proc_macro]
pub fn lxd_api(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let Input { file, part } = syn::parse_macro_input!(input as Input);
    let Some(base) = std::env::var_os("CARGO_MANIFEST_DIR") else {
        return error(&file, "CARGO_MANIFEST_DIR is not set: is this compiled by cargo?");
    };
    match pipeline::expand(base.as_ref(), &file.value(), part) {
        Ok(tokens) => tokens.into(),
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            error(&file, &lines.join("\n"))
        }
    }
}

fn error(file: &syn::LitStr, message: &str) -> proc_macro::TokenStream {
    syn::Error::new(file.span(), message).into_compile_error().into()
}

struct Input {
    file: syn::LitStr,
    part: pipeline::Part,
}

impl Parse for Input {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let file = input.parse()?;
        input.parse::<syn::Token![,]>()?;
        let part: syn::Ident = input.parse()?;
        let part = match part.to_string().as_str() {
            "types" => pipeline::Part::Types,
            "methods" => pipeline::Part::Methods,
            "mock" => pipeline::Part::Mock,
            _ => return Err(syn::Error::new(part.span(), "expected `types`, `methods` or `mock`")),
        };
        Ok(Self { file, part })
    }
}
