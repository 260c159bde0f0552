//! A source tree as its tokens: which paths each module names, and on how many lines it has code.
//!
//! Tokens, and not a syntax tree: paths inside macro calls count like any other, comments and strings never do.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};

/// One `.rs` file under `src/`.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path from the repository's root, with forward slashes.
    pub(crate) path: String,
    /// Every path that its code names, in order.
    pub(crate) named: Vec<Named>,
    /// The modules that it declares as files (`mod name;`), in order.
    pub(crate) declared: Vec<String>,
    /// Those of them, from the crate's root, that stand under `#[cfg(test)]`.
    declared_in_test: Vec<Vec<String>>,
    /// How many lines hold code: not blank, not a comment, not under `#[cfg(test)]`.
    pub(crate) code_lines: usize,
    /// The first line of each top-level item that is not a module declaration.
    pub(crate) other_items: Vec<usize>,
}

/// A path as the code names it, resolved to start at the crate's root where it is one of ours.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// The line it stands on, from 1.
    pub(crate) line: usize,
    /// Its segments; for one of ours without `crate`.
    pub(crate) segments: Vec<String>,
    /// Does it lead into this crate?
    pub(crate) ours: bool,
    /// How it is named.
    pub(crate) form: Form,
    /// Does it stand under `#[cfg(test)]`?
    pub(crate) in_test: bool,
}

/// The form in which a path is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// In the code itself.
    Inline,
    /// After a dot: a field or a method.
    Member,
    /// By a `use`.
    Use {
        /// Is it visible outside the module (`pub use`, `pub(crate) use`)?
        public: bool,
        /// Does it end in `*`?
        glob: bool,
        /// The new name given with `as`.
        alias: Option<String>,
    },
    /// By `mod name`.
    Module,
    /// As the name of an attribute.
    Attribute,
}

impl Source {
    /// Reads files, each given by its path from the repository's root and its text.
    ///
    /// A file that is only declared under `#[cfg(test)]` is a test as a whole, and so is what stands under it.
    pub(crate) fn parse_all(files: &[(String, String)]) -> Result<Vec<Self>, String> {
        let mut sources: Vec<_> = files.iter().map(|(path, text)| Self::parse(path, text, false)).collect::<Result<_, _>>()?;
        let tests: Vec<_> = sources.iter().flat_map(|source| source.declared_in_test.clone()).collect();
        for (source, (path, text)) in sources.iter_mut().zip(files) {
            if tests.iter().any(|test| module_path(path).starts_with(test)) {
                *source = Self::parse(path, text, true)?;
            }
        }
        Ok(sources)
    }

    fn parse(path: &str, text: &str, in_test: bool) -> Result<Self, String> {
        let tokens: TokenStream = text.parse().map_err(|error| format!("{path}: {error}"))?;
        let mut reader = Reader::default();
        let scope = Scope { module: module_path(path), in_test };
        reader.read(&tokens.clone().into_iter().collect::<Vec<_>>(), &scope);
        Ok(Self {
            path: path.to_owned(),
            named: reader.named,
            declared: reader.declared,
            declared_in_test: reader.declared_in_test,
            code_lines: reader.lines.len(),
            other_items: other_items(&tokens.into_iter().collect::<Vec<_>>()),
        })
    }

    /// The top-level module it belongs to; `lib` and `main` for the roots.
    pub(crate) fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split(['/', '.']).next().unwrap_or(inside)
    }
}

/// Every `.rs` file under `root`/src, sorted by path.
pub(crate) fn read_tree(root: &Path) -> Result<Vec<Source>, String> {
    let mut files = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder).map_err(|error| format!("{}: {error}", folder.display()))? {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                files.push((name, text));
            }
        }
    }
    files.sort();
    Source::parse_all(&files)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

/// `src/policy/compile.rs` is the module `policy::compile`; the roots are the empty path.
fn module_path(path: &str) -> Vec<String> {
    let inside = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs").trim_end_matches("/mod");
    match inside {
        "lib" | "main" => Vec::new(),
        _ => inside.split('/').map(str::to_owned).collect(),
    }
}

/// The lines of top-level items other than `mod name;`.
fn other_items(tokens: &[TokenTree]) -> Vec<usize> {
    let mut lines = Vec::new();
    let mut rest = tokens;
    while let Some(first) = rest.first() {
        rest = match rest {
            [hash, TokenTree::Group(_), after @ ..] if is_punct(hash, '#') => after,
            [hash, bang, TokenTree::Group(_), after @ ..] if is_punct(hash, '#') && is_punct(bang, '!') => after,
            [public, module, TokenTree::Ident(_), end, after @ ..]
                if is_ident(public, "pub") && is_ident(module, "mod") && is_punct(end, ';') =>
            {
                after
            }
            [_, after @ ..] => {
                lines.push(line(first.span()));
                let end = after.iter().position(|token| is_punct(token, ';') || is_braces(token));
                after.get(end.map_or(after.len(), |end| end + 1)..).unwrap_or_default()
            }
            [] => break,
        };
    }
    lines
}

/// Where the tokens being read stand.
#[derive(Debug, Clone)]
struct Scope {
    /// The module, from the crate's root.
    module: Vec<String>,
    in_test: bool,
}

#[derive(Debug, Default)]
struct Reader {
    named: Vec<Named>,
    declared: Vec<String>,
    declared_in_test: Vec<Vec<String>>,
    lines: BTreeSet<usize>,
}

impl Reader {
    fn read(&mut self, tokens: &[TokenTree], scope: &Scope) {
        let mut item = scope.clone();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let rest = tokens.get(at..).unwrap_or_default();
            if let Some((taken, attribute)) = attribute(rest) {
                item.in_test |= is_cfg_test(attribute);
                self.read_attribute(attribute, &item);
                at += taken;
                continue;
            }
            self.count(token, &item);
            at += self.read_one(tokens, at, &item);
            if tokens.get(at - 1).is_some_and(|last| is_punct(last, ';') || is_braces(last)) {
                item.in_test = scope.in_test;
            }
        }
    }

    /// Reads what starts at `at`, and says how many tokens that was.
    fn read_one(&mut self, tokens: &[TokenTree], at: usize, scope: &Scope) -> usize {
        let before = tokens.get(..at).unwrap_or_default();
        let rest = tokens.get(at..).unwrap_or_default();
        match rest {
            [TokenTree::Group(group), ..] => {
                self.read_group(group, scope);
                1
            }
            [word, TokenTree::Ident(name), ..] if is_ident(word, "mod") => self.read_module(&name.to_string(), rest, scope),
            [word, next, ..] if is_ident(word, "use") && !is_punct(next, '<') => {
                let length = rest.iter().position(|token| is_punct(token, ';')).unwrap_or(rest.len());
                let tree = rest.get(1..length).unwrap_or_default();
                tree.iter().for_each(|token| self.count_deep(token, scope));
                self.read_use(tree, &[], is_public(before), scope);
                length
            }
            [word, TokenTree::Ident(next), ..] if is_ident(word, "extern") && *next == "crate" => {
                self.name(line(word.span()), vec!["extern".to_owned(), "crate".to_owned()], Form::Inline, scope);
                2
            }
            [TokenTree::Ident(_), ..] => {
                let (segments, length) = inline_path(rest);
                rest.iter().take(length).for_each(|token| self.count(token, scope));
                let form = if before.last().is_some_and(|token| is_punct(token, '.')) { Form::Member } else { Form::Inline };
                self.name(line(rest.first().map_or_else(Span::call_site, TokenTree::span)), segments, form, scope);
                length
            }
            _ => 1,
        }
    }

    fn read_group(&mut self, group: &Group, scope: &Scope) {
        self.read(&group.stream().into_iter().collect::<Vec<_>>(), scope);
    }

    /// Reads `mod name;` up to the name, or `mod name { ... }` whole, and says how many tokens that was.
    fn read_module(&mut self, name: &str, rest: &[TokenTree], scope: &Scope) -> usize {
        let at = rest.first().map_or_else(Span::call_site, TokenTree::span);
        self.name(line(at), vec![name.to_owned()], Form::Module, scope);
        match rest.get(2) {
            Some(TokenTree::Group(body)) => {
                let mut inner = scope.clone();
                inner.module.push(name.to_owned());
                self.count(&TokenTree::Group(body.clone()), scope);
                self.read_group(body, &inner);
                3
            }
            _ => {
                self.declared.push(name.to_owned());
                if scope.in_test {
                    self.declared_in_test.push([scope.module.as_slice(), &[name.to_owned()]].concat());
                }
                2
            }
        }
    }

    /// Reads one branch of a `use` tree: `a::b::{c, d as e, f::*}`.
    fn read_use(&mut self, tree: &[TokenTree], prefix: &[String], public: bool, scope: &Scope) {
        for branch in tree.split(|token| is_punct(token, ',')) {
            let mut segments = prefix.to_vec();
            let mut alias = None;
            let mut glob = false;
            let mut nested = None;
            let mut words = branch.iter();
            while let Some(word) = words.next() {
                match word {
                    TokenTree::Ident(word) if *word == "as" => alias = words.next().map(ToString::to_string),
                    TokenTree::Ident(word) if *word == "self" && !segments.is_empty() => {}
                    TokenTree::Ident(word) => segments.push(plain(&word.to_string())),
                    TokenTree::Group(group) => nested = Some(group),
                    TokenTree::Punct(mark) => glob |= mark.as_char() == '*',
                    TokenTree::Literal(_) => {}
                }
            }
            let Some(start) = branch.first() else { continue };
            match nested {
                Some(group) => self.read_use(&group.stream().into_iter().collect::<Vec<_>>(), &segments, public, scope),
                None => self.name(line(start.span()), segments, Form::Use { public, glob, alias }, scope),
            }
        }
    }

    /// An attribute's own name, the paths in it, and those that it holds in strings (`#[serde(with = "crate::x")]`).
    fn read_attribute(&mut self, attribute: &Group, scope: &Scope) {
        let tokens: Vec<_> = attribute.stream().into_iter().collect();
        let Some(TokenTree::Ident(name)) = tokens.first() else { return };
        if *name == "doc" {
            return;
        }
        self.count_deep(&TokenTree::Group(attribute.clone()), scope);
        self.name(line(name.span()), vec![name.to_string()], Form::Attribute, scope);
        let arguments = tokens.get(1..).unwrap_or_default();
        self.read(arguments, scope);
        self.read_strings(arguments, scope);
    }

    fn read_strings(&mut self, tokens: &[TokenTree], scope: &Scope) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.read_strings(&group.stream().into_iter().collect::<Vec<_>>(), scope),
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    let inside = text.trim_matches('"');
                    if inside.contains("::") && inside.len() < text.len() {
                        let segments = inside.split("::").map(|segment| segment.trim().to_owned()).collect();
                        self.name(line(literal.span()), segments, Form::Inline, scope);
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }

    fn name(&mut self, line: usize, segments: Vec<String>, form: Form, scope: &Scope) {
        let (ours, segments) = resolve(segments, &scope.module);
        self.named.push(Named { line, segments, ours, form, in_test: scope.in_test });
    }

    fn count(&mut self, token: &TokenTree, scope: &Scope) {
        if scope.in_test {
            return;
        }
        match token {
            TokenTree::Group(group) => {
                self.lines.insert(line(group.span_open()));
                self.lines.insert(line(group.span_close()));
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {
                self.lines.extend(token.span().start().line..=token.span().end().line);
            }
        }
    }

    fn count_deep(&mut self, token: &TokenTree, scope: &Scope) {
        self.count(token, scope);
        if let TokenTree::Group(group) = token {
            group.stream().into_iter().for_each(|inner| self.count_deep(&inner, scope));
        }
    }
}

/// `crate`, `self` and `super` are followed to where they lead; any other start may be a local name or another crate.
fn resolve(segments: Vec<String>, module: &[String]) -> (bool, Vec<String>) {
    let mut base = match segments.first().map(String::as_str) {
        Some("crate") => Vec::new(),
        Some("self") if segments.len() > 1 => module.to_vec(),
        Some("super") => module.to_vec(),
        // The binary names the library by the crate's name.
        Some("tollhouse") if module.is_empty() => Vec::new(),
        _ => return (false, segments),
    };
    let rest = segments.into_iter().enumerate().filter(|(at, word)| *at > 0 || word == "super");
    for (_, word) in rest {
        if word == "super" {
            base.pop();
        } else {
            base.push(word);
        }
    }
    (true, base)
}

/// The segments of the path that starts here, and how many tokens they take; generic arguments end it.
fn inline_path(tokens: &[TokenTree]) -> (Vec<String>, usize) {
    let mut segments = Vec::new();
    let mut length = 0;
    while let Some(TokenTree::Ident(word)) = tokens.get(length) {
        segments.push(plain(&word.to_string()));
        length += 1;
        match tokens.get(length..) {
            Some([first, second, TokenTree::Ident(_), ..]) if is_punct(first, ':') && is_punct(second, ':') => length += 2,
            _ => break,
        }
    }
    (segments, length)
}

/// The attribute that starts here, inner or outer, and how many tokens it takes.
fn attribute(tokens: &[TokenTree]) -> Option<(usize, &Group)> {
    match tokens {
        [hash, TokenTree::Group(group), ..] if is_punct(hash, '#') && group.delimiter() == Delimiter::Bracket => Some((2, group)),
        [hash, bang, TokenTree::Group(group), ..]
            if is_punct(hash, '#') && is_punct(bang, '!') && group.delimiter() == Delimiter::Bracket =>
        {
            Some((3, group))
        }
        _ => None,
    }
}

/// Exactly `cfg(test)`: anything wider may be in the running proxy.
fn is_cfg_test(attribute: &Group) -> bool {
    attribute.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// Do the tokens before a `use` make it visible elsewhere?
fn is_public(before: &[TokenTree]) -> bool {
    match before {
        [.., public, TokenTree::Group(_)] => is_ident(public, "pub"),
        [.., public] => is_ident(public, "pub"),
        [] => false,
    }
}

fn plain(word: &str) -> String {
    word.trim_start_matches("r#").to_owned()
}

fn is_ident(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if *ident == word)
}

fn is_punct(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

fn is_braces(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

fn line(span: Span) -> usize {
    span.start().line
}
