//! The types of the model as structs, enumerations and aliases. Reading and writing them is left to
//! the `wire` module beside them: here only the places of their fields are written down.

use proc_macro2::TokenStream;
use quote::quote;

use super::docs;
use crate::model::{Conversion, Field, Model, ParameterTy, Ty, TypeDef, TypeKind, identifier};

/// The module of all types.
pub(crate) fn types(model: &Model, title: &str, dangling: &[String]) -> TokenStream {
    let mut module = docs::Docs::default();
    module.text(&format!("The types of the {title}."));
    if !dangling.is_empty() {
        module
            .markdown("The description refers to these without saying what they are; they are a [`Value`]:");
        for name in dangling {
            module.item(&format!("`{name}`"), "");
        }
    }
    let module = module.tokens("");
    let definitions = model.types.iter().map(definition);
    let conversions = model.conversions.iter().map(conversion);
    let names = |wanted: fn(&TypeKind) -> bool| {
        let types = model.types.iter().filter(move |known| wanted(&known.kind));
        types.map(|known| identifier(&known.name))
    };
    let records = names(|kind| matches!(kind, TypeKind::Record(_)));
    let enumerations = names(|kind| matches!(kind, TypeKind::Texts(_)));
    let codes = names(|kind| matches!(kind, TypeKind::Codes(_)));
    let bodies = bodies(model);
    quote! {
        #module
        pub mod schemas {
            #[allow(unused_imports)]
            use std::collections::BTreeMap;
            #[allow(unused_imports)]
            use jiff::Timestamp;
            #[allow(unused_imports)]
            use serde_json::Value;
            #[allow(unused_imports)]
            use crate::wire::{Enumeration, Fields, Incoming, Read, Refused, Shape, Write, read_fields};

            #(#definitions)*
            #(#conversions)*

            crate::records! { #(#records)* }
            crate::bodies! { #(#bodies)* }
            crate::enumerations! { #(#enumerations)* }
            crate::codes! { #(#codes)* }
        }
    }
}

/// The records that some request sends.
fn bodies(model: &Model) -> Vec<proc_macro2::Ident> {
    let is_record = |name: &str| {
        model.types.iter().any(|known| known.name == name && matches!(known.kind, TypeKind::Record(_)))
    };
    let methods = model.operations.iter().flat_map(|operation| &operation.methods);
    let arguments = methods.filter_map(|method| method.body.as_ref()?.json.as_ref());
    let sets = model.parameter_sets.iter().flat_map(|set| &set.parameters);
    let setters = sets.filter_map(|parameter| match &parameter.ty {
        ParameterTy::Json(ty) => Some(ty),
        _ => None,
    });
    let names: std::collections::BTreeSet<&str> = arguments
        .chain(setters)
        .filter_map(|ty| match ty {
            Ty::Named(name) if is_record(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    names.into_iter().map(identifier).collect()
}

fn definition(of: &TypeDef) -> TokenStream {
    let name = identifier(&of.name);
    let mut about = docs::Docs::default();
    if of.is_markdown {
        about.markdown(of.description.clone());
    } else {
        about.text(&of.description);
    }
    match &of.kind {
        TypeKind::Record(fields) => record(&name, &of.name, about, fields),
        TypeKind::Texts(variants) => {
            about.markdown(
                "A text that is not among these is kept in `Other`; take texts with `From`, which knows \
                 these.",
            );
            let about = about.tokens("");
            let names: Vec<_> = variants.iter().map(|variant| identifier(&variant.name)).collect();
            let texts: Vec<_> = variants.iter().map(|variant| &variant.wire).collect();
            let meanings = variants.iter().map(|variant| {
                let mut docs = docs::Docs::default();
                docs.markdown(format!("`{}`", variant.wire));
                docs.text(&variant.description);
                docs.tokens("")
            });
            quote! {
                #about
                #[derive(Clone, Debug, PartialEq, Eq, Hash)]
                pub enum #name {
                    #(#meanings #names,)*
                    /// Any other text; empty by default.
                    Other(String),
                }

                impl Enumeration for #name {
                    fn text(&self) -> &str {
                        match self {
                            #(Self::#names => #texts,)*
                            Self::Other(text) => text,
                        }
                    }

                    fn of(text: &str) -> Self {
                        match text {
                            #(#texts => Self::#names,)*
                            other => Self::Other(other.to_owned()),
                        }
                    }
                }
            }
        }
        TypeKind::Codes(codes) => {
            let about = about.tokens("A number with named values.");
            let constants = codes.iter().map(|(name, code)| {
                let about = format!(" {code}");
                let name = identifier(name);
                let code = proc_macro2::Literal::i64_unsuffixed(*code);
                quote!(#[doc = #about] pub const #name: Self = Self(#code);)
            });
            quote! {
                #about
                #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
                pub struct #name(pub i64);

                impl #name {
                    #(#constants)*
                }
            }
        }
        TypeKind::Alias(ty) => {
            let about = about.tokens("A value without named parts.");
            let ty = super::ty(ty, &TokenStream::new());
            quote! { #about pub type #name = #ty; }
        }
    }
}

fn record(name: &proc_macro2::Ident, text: &str, about: docs::Docs, fields: &[Field]) -> TokenStream {
    let about = about.tokens("An object of the API.");
    let members = fields.iter().map(|field| {
        let name = identifier(&field.name);
        let ty = super::ty(&field.ty, &TokenStream::new());
        let about = docs::text(&field.description, &format!("`{}`", field.wire));
        quote!(#about pub #name: #ty,)
    });
    let places = fields.iter().map(|field| {
        let (name, wire) = (identifier(&field.name), &field.wire);
        quote!(#wire => &mut self.#name,)
    });
    let wires = fields.iter().map(|field| &field.wire);
    let secrets = fields.iter().filter(|field| field.secret).map(|field| &field.wire);
    let values = fields.iter().map(|field| {
        let name = identifier(&field.name);
        quote!(&self.#name)
    });
    // A record without fields has no places.
    let field = (!fields.is_empty()).then(|| {
        quote! {
            fn field(&mut self, name: &str) -> Option<&mut dyn Read> {
                Some(match name { #(#places)* _ => return None })
            }
        }
    });
    quote! {
        #about
        #[derive(Clone, Default)]
        pub struct #name {
            #(#members)*
        }

        impl Read for #name {
            fn read(&mut self, value: Incoming<'_>) -> Result<(), Refused> {
                read_fields(self, value)
            }

            #field
        }

        impl Write for #name {
            fn shape(&self) -> Shape<'_> {
                Shape::Fields(self)
            }

            fn fields(&self, visit: &mut dyn FnMut(&Fields<'_>)) {
                visit(&Fields {
                    of: #text,
                    names: &[#(#wires),*],
                    secrets: &[#(#secrets),*],
                    values: &[#(#values),*],
                })
            }
        }
    }
}

fn conversion(of: &Conversion) -> TokenStream {
    let (from, to) = (identifier(&of.from), identifier(&of.to));
    let fields = of.fields.iter().map(|(field, becomes_optional)| {
        let field = identifier(field);
        if *becomes_optional { quote!(#field: Some(from.#field),) } else { quote!(#field: from.#field,) }
    });
    let rest = of.more.then(|| quote!(..Self::default()));
    quote! {
        impl From<#from> for #to {
            /// Takes over all that can be written back.
            fn from(from: #from) -> Self {
                Self { #(#fields)* #rest }
            }
        }
    }
}

/// Whether a type is one that a user names, so that documentation can link to it.
pub(super) fn named(ty: &Ty) -> Option<&str> {
    match ty {
        Ty::Named(name) => Some(name),
        Ty::List(inner) | Ty::Map(inner) | Ty::Option(inner) | Ty::Boxed(inner) => named(inner),
        _ => None,
    }
}
