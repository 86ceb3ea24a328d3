//! The stages one after the other: read, repair, lower, model, emit. The stages themselves are
//! modules of their own.

use std::path::Path;

use proc_macro2::TokenStream;
use quote::quote;

use crate::problem::Problem;
pub(crate) use crate::read::Document;
use crate::read::Overlay;
use crate::{emit, lower, model, repair};

/// Which part of the API a crate wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Part {
    /// The structs and enumerations.
    Types,
    /// The methods of the client.
    Methods,
    /// The expectations of the mock server.
    Mock,
}

/// Expands the description at `file`, which is relative to `base`, and the `overlay.yaml` beside it.
pub(crate) fn expand(base: &Path, file: &str, part: Part) -> Result<TokenStream, Vec<Problem>> {
    let overlay_file = match file.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/overlay.yaml"),
        None => "overlay.yaml".to_owned(),
    };
    let one = |problem: Problem| vec![problem];
    let description = Document::read(file, &base.join(file)).map_err(one)?;
    let overlay = Document::read(&overlay_file, &base.join(&overlay_file)).map_err(one)?;
    let items = generate(description, &overlay, part)?;
    // So that a change of either file is a change of the crate.
    let tracked = [file, &overlay_file].map(|file| format!("/{file}"));
    Ok(quote! {
        #(const _: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), #tracked));)*
        #items
    })
}

/// What is generated from files that have been read.
fn generate(mut description: Document, overlay: &Document, part: Part) -> Result<TokenStream, Vec<Problem>> {
    let overlay = Overlay::of(overlay);
    let repairs = repair::repair(&mut description.root);
    let (api, overlay) = match (lower::lower(&description), overlay) {
        (Ok(api), Ok(overlay)) => (api, overlay),
        (lowered, overlay) => {
            let problems = lowered.err().into_iter().chain(overlay.err());
            return Err(problems.flatten().collect());
        }
    };
    let model = model::Model::of(&api, &overlay);
    let title = if api.info.title.is_empty() { "API" } else { &api.info.title };
    Ok(match part {
        Part::Types => emit::types(&model, title, &repairs.dangling),
        Part::Methods => emit::methods(&model),
        Part::Mock => emit::mock(&model),
    })
}

#[cfg(test)]
mod tests;
