//! The names of methods, by the rule that the operationIds of LXD suggest; the overlay names what
//! the rule would not. Making names unique is left to the caller's scope.
//!
//! An operationId is a thing, a verb and a variant: `instance_snapshots_get_recursion1`. The method
//! is named for the thing and for what happens to it: `instance_snapshots_recursion1`,
//! `delete_instance`, `modify_…` for PATCH, `update_…` for PUT. A POST makes one of several
//! (`create_…`), renames or moves one (`rename_…`, `migrate_…`), or is an action of its own
//! (`rebuild_instance`).

use super::names::{singular, snake};

/// What the rule looks at.
pub(super) struct Subject<'a> {
    pub(super) id: &'a str,
    /// The method of HTTP, in capitals.
    pub(super) http: &'a str,
    /// The path without its query.
    pub(super) path: &'a str,
    /// Whether the description has a path that goes on from here with a parameter.
    pub(super) has_items: bool,
    /// Whether its body can ask for a migration.
    pub(super) can_migrate: bool,
}

const VERBS: [&str; 6] = ["get", "head", "post", "put", "patch", "delete"];

/// The name that the rule gives.
pub(super) fn method_name(subject: &Subject<'_>) -> String {
    let id = snake(subject.id);
    let mut words: Vec<&str> = id.split('_').filter(|word| !word.is_empty()).collect();
    // An id without a verb, or without a thing, is a name as it is.
    match words.iter().rposition(|word| VERBS.contains(word)) {
        Some(verb) if words.len() > 1 => words.remove(verb),
        _ => return id,
    };
    let variant = words.iter().position(|word| is_variant(word)).unwrap_or(words.len());
    let variants = words.split_off(variant);
    let mut name = match subject.http {
        "GET" => words.join("_"),
        "DELETE" => format!("delete_{}", words.join("_")),
        "PATCH" => format!("modify_{}", words.join("_")),
        "PUT" => format!("update_{}", words.join("_")),
        "POST" => post(subject, &words),
        other => format!("{}_{}", words.join("_"), other.to_lowercase()),
    };
    for variant in variants {
        name.push('_');
        name.push_str(variant);
    }
    name
}

/// Whether a word tells the variants of an operation apart: `recursion1`, `untrusted`.
fn is_variant(word: &str) -> bool {
    word == "untrusted" || word.strip_prefix("recursion").is_some_and(|rest| rest.parse::<u8>().is_ok())
}

fn post(subject: &Subject<'_>, words: &[&str]) -> String {
    let last = subject.path.rsplit('/').next().unwrap_or_default();
    let of_one = last.starts_with('{');
    let last = snake(last);
    if subject.has_items || (!of_one && singular(&last) != last) {
        return format!("create_{}", one_of(words));
    }
    if of_one {
        let verb = if subject.can_migrate { "migrate" } else { "rename" };
        return format!("{verb}_{}", words.join("_"));
    }
    // An action: the last part of the path says what is done to the thing before it.
    let action: Vec<&str> = last.split('_').collect();
    match words.strip_suffix(action.as_slice()) {
        Some(thing) if !thing.is_empty() => format!("{}_{}", last, one_of(thing)),
        _ => format!("post_{}", words.join("_")),
    }
}

/// The thing in the singular: its last word that is a plural.
fn one_of(words: &[&str]) -> String {
    let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    if let Some(plural) = words.iter_mut().rev().find(|word| singular(word) != **word) {
        *plural = singular(plural);
    }
    words.join("_")
}

#[cfg(test)]
mod tests {
    use super::{Subject, method_name};

    fn name(id: &str, http: &str, path: &str, has_items: bool, can_migrate: bool) -> String {
        method_name(&Subject { id, http, path, has_items, can_migrate })
    }

    #[test]
    fn the_rule() {
        for (id, http, path, expected) in [
            ("instance_get", "GET", "/1.0/instances/{name}", "instance"),
            ("instances_get_recursion2", "GET", "/1.0/instances", "instances_recursion2"),
            ("images_get_recursion1_untrusted", "GET", "/1.0/images", "images_recursion1_untrusted"),
            ("instance_put", "PUT", "/1.0/instances/{name}", "update_instance"),
            ("instance_patch", "PATCH", "/1.0/instances/{name}", "modify_instance"),
            ("instance_delete", "DELETE", "/1.0/instances/{name}", "delete_instance"),
            ("instance_files_head", "HEAD", "/1.0/instances/{name}/files", "instance_files_head"),
            ("instance_files_post", "POST", "/1.0/instances/{name}/files", "create_instance_file"),
            ("profile_post", "POST", "/1.0/profiles/{name}", "rename_profile"),
            ("instance_rebuild_post", "POST", "/1.0/instances/{name}/rebuild", "rebuild_instance"),
            ("clustering_update_cert", "PUT", "/1.0/cluster/certificate", "clustering_update_cert"),
            ("instance_exec-output_delete", "DELETE", "/x/{filename}", "delete_instance_exec_output"),
        ] {
            assert_eq!(name(id, http, path, false, false), expected);
        }
        assert_eq!(name("instances_post", "POST", "/1.0/instances", true, false), "create_instance");
        assert_eq!(name("instance_post", "POST", "/1.0/instances/{name}", false, true), "migrate_instance");
        assert_eq!(
            name("identities_post_tls_untrusted", "POST", "/1.0/auth/identities/tls", true, false),
            "create_identity_tls_untrusted"
        );
        assert_eq!(
            name("storage_pool_volumes_type_post", "POST", "/1.0/v/{type}", true, false),
            "create_storage_pool_volume_type"
        );
    }
}
