//! The public API of lxd-types and lxd-client as lists, of what is generated and what is written by hand: a change of
//! it, as by another description, is seen in review. Each item that is `pub` is public, which the lint
//! `unreachable_pub` sees to; so the lists need no more than the syntax.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use quote::{ToTokens, quote};
use syn::{Fields, ImplItem, Item, TraitItem, Visibility};

use crate::pipeline::{Part, expand};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn of_lxd_types() {
    let api = Api::of("lxd-types", &[Part::Types]);
    insta::assert_snapshot!(api.lines());
}

/// The expectations of the mock are as the methods, one for each, and not listed.
#[test]
fn of_lxd_client() {
    let api = Api::of("lxd-client", &[Part::Methods]);
    insta::assert_snapshot!(api.lines());
}

/// What is public, a line each.
#[derive(Default)]
struct Api {
    lines: BTreeSet<String>,
    /// The names of public types, of which the traits count.
    types: BTreeSet<String>,
    traits: Vec<(String, String)>,
}

impl Api {
    /// That of a crate, of which these parts are generated.
    fn of(name: &str, generated: &[Part]) -> Self {
        let mut api = Self::default();
        api.folder(&root().join(name).join("src"));
        for part in generated {
            let tokens = expand(&root(), "spec/rest-api.yaml", *part).expect("the vendored description");
            api.items(syn::parse2::<syn::File>(tokens).expect("items").items);
        }
        api
    }

    fn lines(self) -> String {
        let Self { mut lines, types, traits } = self;
        let of_public = traits.into_iter().filter(|(of, _)| types.contains(of));
        lines.extend(of_public.map(|(_, line)| line));
        lines.into_iter().collect::<Vec<_>>().join("\n")
    }

    fn folder(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            if path.is_dir() {
                self.folder(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a file");
                let file =
                    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                self.items(file.items);
            }
        }
    }

    fn add(&mut self, line: impl ToTokens) {
        self.lines.insert(text(line));
    }

    fn named(&mut self, name: &syn::Ident) -> String {
        self.types.insert(name.to_string());
        name.to_string()
    }

    fn items(&mut self, items: Vec<Item>) {
        for item in items {
            match item {
                Item::Fn(item) if is_public(&item.vis) => self.add(&item.sig),
                Item::Const(item) if is_public(&item.vis) => {
                    let (name, ty) = (&item.ident, &item.ty);
                    self.add(quote!(const #name: #ty));
                }
                Item::Type(item) if is_public(&item.vis) => {
                    let (name, generics, ty) = (&item.ident, &item.generics, &item.ty);
                    self.add(quote!(type #name #generics = #ty));
                }
                Item::Use(item) if is_public(&item.vis) => {
                    let tree = &item.tree;
                    self.add(quote!(use #tree));
                }
                Item::Mod(item) => {
                    self.items(item.content.into_iter().flat_map(|(_, items)| items).collect())
                }
                Item::Struct(item) if is_public(&item.vis) => {
                    let name = self.named(&item.ident);
                    let (ident, generics) = (&item.ident, &item.generics);
                    self.add(quote!(struct #ident #generics));
                    self.derived(&name, &item.attrs);
                    self.fields(&name, &item.fields);
                }
                Item::Enum(item) if is_public(&item.vis) => {
                    let name = self.named(&item.ident);
                    let (ident, generics) = (&item.ident, &item.generics);
                    self.add(quote!(enum #ident #generics));
                    self.derived(&name, &item.attrs);
                    for variant in &item.variants {
                        let (variant, mut fields) = (&variant.ident, variant.fields.clone());
                        // Documentation is not what is used.
                        fields.iter_mut().for_each(|field| field.attrs.clear());
                        self.lines.insert(format!("{name}::{}", text(quote!(#variant #fields))));
                    }
                }
                Item::Trait(item) if is_public(&item.vis) => {
                    let name = self.named(&item.ident);
                    let (ident, generics) = (&item.ident, &item.generics);
                    self.add(quote!(trait #ident #generics));
                    for item in &item.items {
                        if let TraitItem::Fn(function) = item {
                            self.lines.insert(format!("{name}::{}", text(&function.sig)));
                        }
                    }
                }
                Item::Impl(item) => self.implementation(item),
                _ => {}
            }
        }
    }

    fn derived(&mut self, name: &str, attributes: &[syn::Attribute]) {
        for attribute in attributes {
            if attribute.path().is_ident("non_exhaustive") {
                self.lines.insert(format!("{name}: non_exhaustive"));
            }
            if attribute.path().is_ident("derive") {
                let derived = attribute.meta.require_list().expect("a list").tokens.to_string();
                for derived in derived.split(',') {
                    let name_of = derived.trim().rsplit("::").next().unwrap_or_default().trim();
                    self.lines.insert(format!("{name}: {name_of}"));
                }
            }
        }
    }

    fn fields(&mut self, name: &str, fields: &Fields) {
        for (at, field) in fields.iter().enumerate().filter(|(_, field)| is_public(&field.vis)) {
            let ty = &field.ty;
            let field = field.ident.as_ref().map_or_else(|| at.to_string(), ToString::to_string);
            self.lines.insert(format!("{name}.{field}: {}", text(ty)));
        }
    }

    fn implementation(&mut self, item: syn::ItemImpl) {
        let (of, generics) = (&item.self_ty, &item.generics);
        let syn::Type::Path(path) = &**of else { return };
        let name = path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        let conditions = &generics.where_clause;
        if let Some((implemented, _)) = &item.trait_ {
            self.traits.push((name, text(quote!(impl #generics #implemented for #of #conditions))));
            return;
        }
        for item in &item.items {
            match item {
                ImplItem::Fn(function) if is_public(&function.vis) => {
                    let line = format!("{}::{}", text(of), text(&function.sig));
                    self.traits.push((name.clone(), line));
                }
                ImplItem::Const(constant) if is_public(&constant.vis) => {
                    let (constant, ty) = (&constant.ident, &constant.ty);
                    let line = format!("{}::{}", text(of), text(quote!(#constant: #ty)));
                    self.traits.push((name.clone(), line));
                }
                _ => {}
            }
        }
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Tokens as a line, with spaces as people write them.
fn text(tokens: impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string().replace('\n', " ");
    for (wide, narrow) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        ("& ", "&"),
        (" : ", ": "),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" ;", ";"),
        ("' ", "'"),
        (" :", ":"),
        ("(mut ", "("),
        (", mut ", ", "),
    ] {
        text = text.replace(wide, narrow);
    }
    text
}
