//! Holds the crate to its architecture: layers, purity, who may do what, sizes and names; and tests each rule itself.

#[path = "architecture/source.rs"]
mod source;

use std::path::Path;

use source::{Form, Named, Source};

/// The modules by layer. A module may use only modules on strictly lower layers.
const LAYERS: &[&[&str]] = &[
    &["golden"],
    &["document", "drain", "fault", "log", "metrics", "secret", "target", "unix_socket"],
    &["sql", "tls"],
    &["dbt", "fetch", "http_server"],
    &["aws"],
    &["identity", "kubernetes"],
    &["credential", "policy"],
    &["audit", "warehouse"],
    &["gate"],
    &["admin", "dev", "listener", "webhook"],
    &["config"],
    &["controller", "serve"],
    &["cli"],
    &["main"],
];

/// Modules without I/O, clock or `await`: the same input gives the same answer.
const PURE: &[&str] = &["policy", "sql"];

const CODE_LINES_MAX: usize = 500;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["common", "core", "helper", "helpers", "manager", "misc", "shared", "types", "util", "utils"];

/// Something that only some modules may do.
struct Seat {
    /// The act, to follow "does".
    act: &'static str,
    modules: &'static [&'static str],
    is_act: fn(&Named) -> bool,
}

const SEATS: &[Seat] = &[
    Seat { act: "write files", modules: &["audit", "cli", "dev", "unix_socket", "webhook"], is_act: writes_files },
    Seat {
        act: "read files",
        modules: &["audit", "cli", "config", "credential", "dev", "identity", "secret", "serve", "tls", "unix_socket", "webhook"],
        is_act: touches_files,
    },
    Seat { act: "build TLS configurations", modules: &["tls"], is_act: builds_tls },
    // Calls of our own are `fetch`'s; `listener` passes on those of clients.
    Seat { act: "make HTTPS calls", modules: &["fetch", "listener"], is_act: calls_https },
    Seat { act: "decide on requests", modules: &["cli", "gate", "policy"], is_act: decides },
    Seat { act: "use anyhow", modules: &["cli"], is_act: uses_anyhow },
];

/// A rule reads a source tree and says what breaks it.
type Rule = fn(&[Source]) -> Vec<String>;

fn layering(tree: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in tree.iter().filter(|source| source.module() != "lib") {
        let Some(own) = layer(source.module()) else {
            broken.push(format!("{}: module {} has no layer", source.path, source.module()));
            continue;
        };
        for named in source.named.iter().filter(|named| named.ours) {
            let other = named.segments.first().map(String::as_str);
            match (other, other.and_then(layer)) {
                (Some(other), _) if other == source.module() => {}
                (Some(_), Some(layer)) if layer < own => {}
                (Some(other), Some(_)) => {
                    broken.push(at(source, named, &format!("{} uses {other}, which is not on a lower layer", source.module())));
                }
                (Some(other), None) => broken.push(at(source, named, &format!("crate::{other} is no module of the table"))),
                (None, _) if matches!(named.form, Form::Use { .. }) => {
                    broken.push(at(source, named, "takes the whole crate, which hides what it uses"));
                }
                (None, _) => {}
            }
        }
    }
    broken
}

/// `lib.rs` is the map: every module of the table once, lower layers first, and nothing else.
fn map(tree: &[Source]) -> Vec<String> {
    let Some(root) = tree.iter().find(|source| source.path == "src/lib.rs") else {
        return vec!["src/lib.rs is missing".to_owned()];
    };
    let mut broken: Vec<_> = root.other_items.iter().map(|line| format!("src/lib.rs:{line}: not a `pub mod name;`")).collect();
    let layers: Vec<_> = root.declared.iter().map(|module| layer(module)).collect();
    if !layers.is_sorted() {
        broken.push("src/lib.rs: the modules do not stand in the order of their layers".to_owned());
    }
    for module in LAYERS.concat() {
        let times = root.declared.iter().filter(|declared| *declared == module).count();
        let expected = usize::from(module != "main");
        if times != expected {
            broken.push(format!("src/lib.rs: module {module} is declared {times} times, expected {expected}"));
        }
    }
    broken.extend(
        root.declared.iter().filter(|module| layer(module).is_none()).map(|module| format!("src/lib.rs: module {module} has no layer")),
    );
    broken
}

/// One path to each name, and no way around reading the paths.
fn one_path(tree: &[Source]) -> Vec<String> {
    each_name(tree, |_, named| match &named.form {
        Form::Use { public: true, .. } => Some("re-exports a name"),
        Form::Attribute if is_one_of(named, &["path", "macro_export", "macro_use"]) => Some("hides where a name comes from"),
        Form::Inline if is_one_of(named, &["include"]) || starts_with(named, &["extern", "crate"]) => Some("hides where a name comes from"),
        Form::Use { alias: Some(_), .. } if is_one_of(named, &["fs", "File", "rustls", "time", "std", "tokio"]) => {
            Some("renames what other rules look for")
        }
        Form::Use { .. } | Form::Attribute | Form::Inline | Form::Member | Form::Module => None,
    })
}

fn purity(tree: &[Source]) -> Vec<String> {
    each_name(tree, |module, named| {
        if named.in_test || !PURE.contains(&module) {
            return None;
        }
        let last = named.segments.last().map(String::as_str);
        match last {
            Some("async" | "await") => Some("waits"),
            Some("now" | "now_utc" | "now_local") if named.segments.len() > 1 => Some("reads a clock"),
            Some("elapsed") if named.form == Form::Member => Some("reads a clock"),
            _ if starts_with(named, &["tokio"]) || starts_with(named, &["hyper"]) => Some("does I/O"),
            _ if ["fs", "net", "process", "env", "os"].iter().any(|part| starts_with(named, &["std", part])) && !is_address(named) => {
                Some("does I/O")
            }
            _ => None,
        }
    })
}

fn seats(tree: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for seat in SEATS {
        broken.extend(each_name(tree, |module, named| {
            (!named.in_test && !seat.modules.contains(&module) && (seat.is_act)(named)).then_some(seat.act)
        }));
    }
    broken
}

fn length(tree: &[Source]) -> Vec<String> {
    let long = tree.iter().filter(|source| source.code_lines > CODE_LINES_MAX);
    long.map(|source| format!("{}: {} lines of code, at most {CODE_LINES_MAX}", source.path, source.code_lines)).collect()
}

fn names(tree: &[Source]) -> Vec<String> {
    let mut broken =
        each_name(tree, |_, named| (named.form == Form::Module && is_one_of(named, EMPTY_NAMES)).then_some("a module's name says nothing"));
    for source in tree {
        let stem = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        if stem == "mod" {
            broken.push(format!("{}: write `name.rs` beside `name/`", source.path));
        } else if EMPTY_NAMES.contains(&stem) {
            broken.push(format!("{}: the name says nothing", source.path));
        }
    }
    broken
}

/// Asks `what` of every name in the tree, and places what it says.
fn each_name(tree: &[Source], what: impl Fn(&str, &Named) -> Option<&'static str>) -> Vec<String> {
    let ask = |source: &Source| -> Vec<String> {
        source.named.iter().filter_map(|named| what(source.module(), named).map(|what| at(source, named, what))).collect()
    };
    tree.iter().flat_map(ask).collect()
}

fn at(source: &Source, named: &Named, what: &str) -> String {
    format!("{}:{}: `{}`: {what}", source.path, named.line, named.segments.join("::"))
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn is_one_of(named: &Named, words: &[&str]) -> bool {
    named.segments.last().is_some_and(|last| words.contains(&last.as_str()))
}

fn starts_with(named: &Named, words: &[&str]) -> bool {
    named.segments.len() >= words.len() && named.segments.iter().zip(words).all(|(segment, word)| segment == word)
}

/// Does the path hold `owner::method`, for one of the methods?
fn holds(named: &Named, owner: &str, methods: &[&str]) -> bool {
    named.segments.windows(2).any(|pair| matches!(pair, [first, second] if first == owner && methods.contains(&second.as_str())))
}

fn writes_files(named: &Named) -> bool {
    const FUNCTIONS: &[&str] = &[
        "copy",
        "create_dir",
        "create_dir_all",
        "hard_link",
        "remove_dir",
        "remove_dir_all",
        "remove_file",
        "rename",
        "set_permissions",
        "soft_link",
        "symlink",
        "write",
        "DirBuilder",
        "OpenOptions",
    ];
    let is_glob = matches!(named.form, Form::Use { glob: true, .. }) && is_one_of(named, &["fs"]);
    is_glob
        || holds(named, "fs", FUNCTIONS)
        || holds(named, "File", &["create", "create_new", "options"])
        || is_one_of(named, &["OpenOptions"])
}

fn touches_files(named: &Named) -> bool {
    starts_with(named, &["std", "fs"]) || starts_with(named, &["tokio", "fs"])
}

fn builds_tls(named: &Named) -> bool {
    const BUILDERS: &[&str] = &["builder", "builder_with_protocol_versions", "builder_with_provider", "builder_with_details"];
    holds(named, "ClientConfig", BUILDERS)
        || holds(named, "ServerConfig", BUILDERS)
        || (named.form == Form::Member && is_one_of(named, &["with_native_roots", "with_webpki_roots", "with_platform_verifier"]))
}

fn calls_https(named: &Named) -> bool {
    starts_with(named, &["hyper_rustls"]) || starts_with(named, &["hyper_util", "client"])
}

fn decides(named: &Named) -> bool {
    (named.form == Form::Member && is_one_of(named, &["decide"])) || holds(named, "PolicySet", &["decide"])
}

fn uses_anyhow(named: &Named) -> bool {
    starts_with(named, &["anyhow"])
}

/// Addresses are values; only sockets are I/O.
fn is_address(named: &Named) -> bool {
    starts_with(named, &["std", "net"])
        && named
            .segments
            .get(2)
            .is_some_and(|name| ["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "AddrParseError"].contains(&name.as_str()))
}

#[cfg(test)]
mod the_house {
    use super::{Path, Rule, layering, length, map, names, one_path, purity, seats, source};

    fn keeps(rule: Rule) {
        let tree = source::read_tree(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!(rule(&tree).join("\n"), "");
    }

    #[test]
    fn every_module_uses_only_lower_layers() {
        keeps(layering);
    }

    #[test]
    fn the_root_lists_every_module_in_layer_order_and_nothing_else() {
        keeps(map);
    }

    #[test]
    fn there_is_one_path_to_each_name() {
        keeps(one_path);
    }

    #[test]
    fn sql_and_policy_do_no_io_and_read_no_clock() {
        keeps(purity);
    }

    #[test]
    fn each_act_happens_only_where_it_has_its_seat() {
        keeps(seats);
    }

    #[test]
    fn no_file_is_too_long() {
        keeps(length);
    }

    #[test]
    fn every_module_has_a_telling_name() {
        keeps(names);
    }
}

/// Each rule against small trees that break it, and against what only looks like it.
#[cfg(test)]
mod the_rules {
    use super::{LAYERS, Rule, Source, layering, length, map, names, one_path, purity, seats};

    fn tree(files: &[(&str, &str)]) -> Vec<Source> {
        let files: Vec<_> = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Source::parse_all(&files).unwrap()
    }

    /// The rule finds exactly one thing in `text`, and says `what`.
    fn catches(rule: Rule, path: &str, text: &str, what: &str) {
        let broken = rule(&tree(&[(path, text)]));
        assert!(matches!(broken.as_slice(), [one] if one.contains(what)), "{text}: {broken:?}");
    }

    fn passes(rule: Rule, path: &str, text: &str) {
        assert_eq!(rule(&tree(&[(path, text)])), Vec::<String>::new(), "{text}");
    }

    #[test]
    fn a_use_of_a_higher_or_the_same_layer_is_caught() {
        catches(layering, "src/sql.rs", "use crate::policy::PolicySet;", "src/sql.rs:1: `policy::PolicySet`: sql uses policy");
        catches(layering, "src/sql.rs", "use crate::tls::Settings;", "sql uses tls");
        catches(layering, "src/identity.rs", "use crate::{fault, gate};", "identity uses gate");
        catches(layering, "src/identity.rs", "use crate::{fault::{Fault, Reason}, gate::{self}};", "identity uses gate");
        passes(layering, "src/policy.rs", "use crate::sql::{Action, Effect}; use crate::fault;");
    }

    #[test]
    fn nested_branches_are_each_seen() {
        let broken = layering(&tree(&[("src/sql.rs", "use crate::{tls::{A, b::{C, D}}, policy};")]));
        assert_eq!(broken.len(), 4, "{broken:?}");
    }

    #[test]
    fn a_glob_of_a_higher_layer_is_caught() {
        catches(layering, "src/sql.rs", "use crate::policy::*;", "sql uses policy");
    }

    #[test]
    fn an_inline_path_is_caught_also_in_macros_types_and_attributes() {
        catches(layering, "src/sql.rs", "fn f() { crate::gate::admit(); }", "sql uses gate");
        catches(layering, "src/sql.rs", "fn f() { println!(\"{}\", crate::gate::NAME); }", "sql uses gate");
        catches(layering, "src/sql.rs", "macro_rules! m { () => { $crate::gate::admit() }; }", "sql uses gate");
        catches(layering, "src/sql.rs", "struct S(Vec<crate::gate::Permit>);", "sql uses gate");
        catches(layering, "src/sql.rs", "struct S { #[serde(with = \"crate::gate\")] f: u8 }", "sql uses gate");
    }

    #[test]
    fn super_is_followed_to_where_it_leads() {
        catches(layering, "src/sql.rs", "use super::gate::Permit;", "sql uses gate");
        catches(layering, "src/sql/postgres.rs", "use super::super::gate::Permit;", "sql uses gate");
        catches(layering, "src/sql.rs", "mod inner { use super::super::gate::Permit; }", "sql uses gate");
        catches(layering, "src/sql/a/b.rs", "fn f() { super::super::super::gate::admit() }", "sql uses gate");
        passes(layering, "src/sql/postgres.rs", "use super::gate::Permit; use self::gate::Other;");
        passes(layering, "src/sql.rs", "mod tests { use super::gate; }");
    }

    #[test]
    fn a_module_without_a_layer_is_caught() {
        catches(layering, "src/newcomer.rs", "use crate::fault::Fault;", "module newcomer has no layer");
        catches(layering, "src/gate.rs", "use crate::newcomer::Thing;", "crate::newcomer is no module");
    }

    #[test]
    fn taking_the_whole_crate_is_caught() {
        for text in ["use crate::*;", "use crate as root;", "use crate::{self as root};", "use super::*;"] {
            catches(layering, "src/gate.rs", text, "takes the whole crate");
        }
        passes(layering, "src/gate.rs", "pub(crate) fn f() {} mod tests { use super::*; }");
    }

    #[test]
    fn the_binary_may_use_the_command_line_below_it() {
        passes(layering, "src/main.rs", "fn main() { tollhouse::cli::main() }");
        catches(layering, "src/main.rs", "fn main() { tollhouse::newcomer() }", "crate::newcomer is no module");
    }

    #[test]
    fn comments_and_strings_do_not_count() {
        passes(layering, "src/sql.rs", "// use crate::gate;\n/* crate::gate */\n/// [`crate::gate`]\nconst A: &str = \"crate::gate::X\";");
        passes(purity, "src/sql.rs", "/// Never an .await\nconst A: &str = r#\"Instant::now()\"#;");
    }

    #[test]
    fn a_root_that_is_not_the_map_is_caught() {
        let modules: Vec<_> = LAYERS.concat().into_iter().filter(|module| *module != "main").collect();
        let root = |modules: &[&str]| modules.iter().map(|module| format!("/// It.\npub mod {module};\n")).collect::<String>();
        passes(map, "src/lib.rs", &root(&modules));
        catches(map, "src/lib.rs", &format!("{}pub use fault::Fault;", root(&modules)), "not a `pub mod name;`");
        catches(map, "src/lib.rs", &format!("{}fn f() {{ g(); }}", root(&modules)), "not a `pub mod name;`");
        catches(map, "src/lib.rs", &root(&[&modules[1..], &["cli"]].concat()).replacen("cli;", "golden;", 1), "order of their layers");
        catches(map, "src/lib.rs", &root(&modules[1..]), "module golden is declared 0 times");
        let reversed: Vec<_> = modules.iter().rev().copied().collect();
        catches(map, "src/lib.rs", &root(&reversed), "order of their layers");
        let stranger = map(&tree(&[("src/lib.rs", &root(&[&["newcomer"], modules.as_slice()].concat()))]));
        assert_eq!(stranger, ["src/lib.rs: module newcomer has no layer"]);
        assert_eq!(map(&tree(&[("src/gate.rs", "")])), ["src/lib.rs is missing"]);
    }

    #[test]
    fn a_re_export_is_caught() {
        for text in ["pub use document::File;", "pub(crate) use self::a::B;", "pub(super) use a::{B};"] {
            catches(one_path, "src/policy.rs", text, "re-exports");
        }
        passes(one_path, "src/policy.rs", "use document::File; pub fn f() -> impl Iterator<Item = u8> + use<> { g() }");
    }

    #[test]
    fn hiding_where_a_name_comes_from_is_caught() {
        for text in [
            "#[path = \"x.rs\"] mod a;",
            "include!(\"x.rs\");",
            "extern crate self as tollhouse;",
            "#[macro_use] mod a;",
            "use std::fs as disk;",
        ] {
            let broken = one_path(&tree(&[("src/gate.rs", text)]));
            assert!(!broken.is_empty(), "{text}");
        }
        passes(
            one_path,
            "src/gate.rs",
            "const A: &str = include_str!(\"a.json\"); use std::fmt::Write as _; fn f(path: &str) { path.len(); }",
        );
    }

    #[test]
    fn a_clock_a_wait_or_io_in_a_pure_module_is_caught() {
        for text in [
            "fn f() { Instant::now(); }",
            "fn f() { std::time::SystemTime::now(); }",
            "fn f() { OffsetDateTime::now_utc(); }",
            "fn f() { started.elapsed(); }",
        ] {
            catches(purity, "src/policy/compile.rs", text, "reads a clock");
        }
        for text in ["async fn f() {}", "fn f() { g().await }", "fn f() { select! { _ = g().await => {} } }"] {
            catches(purity, "src/sql.rs", text, "waits");
        }
        for text in ["use std::fs;", "use std::{fmt, env};", "use tokio::sync::Mutex;", "use std::net::TcpStream;", "use std::net::*;"] {
            catches(purity, "src/sql.rs", text, "does I/O");
        }
    }

    #[test]
    fn pure_modules_may_take_the_time_and_name_addresses_and_test_with_files() {
        passes(purity, "src/policy.rs", "use std::net::IpAddr; fn f(now: SystemTime) -> bool { now > g(now) }");
        passes(purity, "src/policy.rs", "#[cfg(test)] mod tests { use std::fs; fn f() { Instant::now(); } }");
        passes(purity, "src/gate.rs", "async fn f() { Instant::now(); g().await }");
        catches(purity, "src/policy.rs", "#[cfg(test)] mod tests {} fn f() { Instant::now(); }", "reads a clock");
        catches(purity, "src/policy.rs", "#[cfg(any(test, unix))] fn f() { Instant::now(); }", "reads a clock");
    }

    #[test]
    fn a_file_declared_for_tests_only_is_a_test_as_a_whole() {
        let clock = ("src/policy/tests/a.rs", "fn f() { Instant::now(); }");
        let as_test = tree(&[("src/policy.rs", "#[cfg(test)]\nmod tests;"), ("src/policy/tests.rs", "mod a;"), clock]);
        assert_eq!(purity(&as_test), Vec::<String>::new());
        assert_eq!(as_test.last().map(|source| source.code_lines), Some(0));
        let as_code = tree(&[("src/policy.rs", "#[cfg(test)] use a::b; mod tests;"), clock]);
        assert_eq!(purity(&as_code).len(), 1);
    }

    #[test]
    fn writing_a_file_outside_its_seat_is_caught() {
        for text in [
            "fn f() { File::create(p); }",
            "fn f() { tokio::fs::File::options(); }",
            "use std::fs::OpenOptions;",
            "fn f() { fs::write(p, b); }",
            "use std::fs::{read, rename};",
            "use tokio::fs::*;",
        ] {
            let broken = seats(&tree(&[("src/gate.rs", text)]));
            assert!(broken.iter().any(|one| one.contains("write files")), "{text}: {broken:?}");
            passes(seats, "src/audit/log.rs", text);
        }
        passes(seats, "src/identity.rs", "fn f() { std::fs::read_to_string(p); out.write(b); }");
        catches(seats, "src/gate.rs", "fn f() { std::fs::read_to_string(p); }", "read files");
    }

    #[test]
    fn the_other_acts_outside_their_seats_are_caught() {
        catches(seats, "src/fetch.rs", "fn f() { rustls::ClientConfig::builder(); }", "build TLS");
        catches(seats, "src/fetch.rs", "fn f() { ServerConfig::builder_with_provider(p); }", "build TLS");
        passes(seats, "src/tls.rs", "fn f() { ClientConfig::builder(); }");
        catches(seats, "src/identity.rs", "use hyper_util::client::legacy::Client;", "make HTTPS calls");
        catches(seats, "src/listener.rs", "fn f() { policies.decide(&request); }", "decide on requests");
        passes(seats, "src/gate.rs", "fn f() { policies.decide(&request); }");
        catches(seats, "src/serve.rs", "use anyhow::Context;", "use anyhow");
    }

    #[test]
    fn a_long_file_is_caught_and_comments_blanks_and_tests_do_not_count() {
        let code = |lines: usize| "const A: u8 = 1;\n".repeat(lines);
        catches(length, "src/gate.rs", &code(501), "501 lines of code");
        passes(length, "src/gate.rs", &code(500));
        let rest = format!("{}//\n\n/// Doc.\n{}", "// A comment.\n".repeat(600), code(500));
        passes(length, "src/gate.rs", &format!("{rest}#[cfg(test)]\nmod tests {{\n{}}}\n", code(600)));
        catches(length, "src/gate.rs", &format!("fn f() {{\n{}}}", "g(|| {\n1\n});\n".repeat(167)), "503 lines of code");
        catches(length, "src/gate.rs", &format!("#[cfg(test)]\nmod tests {{}}\nuse a::{{\n{}}};", "b,\n".repeat(500)), "502 lines of code");
    }

    #[test]
    fn an_empty_name_or_a_mod_file_is_caught() {
        catches(names, "src/policy/mod.rs", "", "beside");
        catches(names, "src/policy/utils.rs", "", "says nothing");
        catches(names, "src/policy.rs", "mod helpers { }", "says nothing");
        passes(names, "src/policy.rs", "mod selector; use std::collections::hash_map as types;");
    }
}
