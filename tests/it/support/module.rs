//! What a module says of names: which it defines, which it imports, and every path in it.

use std::collections::BTreeMap;

use super::source::{Token, close};

/// The segments of a path. The first is empty if the path begins with `::`.
pub(crate) type Segments = Vec<String>;

/// A module without the modules that have a file of their own.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// A name has several meanings if, say, a function and a module share it, or a definition stands there once for
    /// each `cfg`.
    pub(crate) names: BTreeMap<String, Vec<Meaning>>,
    /// The modules and enums that are imported with `*`.
    pub(crate) globs: Vec<Segments>,
    /// Every path with its line, those of imports too. A word alone counts as a path: a glob may have imported it.
    pub(crate) paths: Vec<(usize, Segments)>,
    /// The modules whose braces stand in this one.
    pub(crate) inline: Vec<(String, Module)>,
}

/// What a name stands for.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// An item that the module defines.
    Item,
    /// A module within the module.
    Module,
    /// Whatever this path leads to.
    Import(Segments),
}

/// Each of these is followed by the name that it defines.
const DEFINES: [&str; 8] = ["const", "enum", "fn", "static", "struct", "trait", "type", "union"];

impl Module {
    pub(crate) fn read(tokens: &[(usize, Token)]) -> Self {
        let mut reader = Reader { tokens, at: 0, module: Self::default() };
        reader.read();
        reader.module
    }

    /// Whether it defines nothing itself.
    pub(crate) fn is_door(&self) -> bool {
        !self.names.values().flatten().any(|meaning| matches!(meaning, Meaning::Item))
    }

    fn add(&mut self, name: &str, meaning: Meaning) {
        self.names.entry(name.to_owned()).or_default().push(meaning);
    }
}

struct Reader<'a> {
    tokens: &'a [(usize, Token)],
    at: usize,
    module: Module,
}

impl<'a> Reader<'a> {
    fn read(&mut self) {
        // Items of the module stand outside of every bracket, or within those of a macro such as `task_local!`.
        let (mut depth, mut end_of_macro) = (0_usize, 0);
        while let Some((_, token)) = self.tokens.get(self.at) {
            match token {
                Token::Mark('(' | '[' | '{') => {
                    if depth == 0 && self.is_mark(self.at.wrapping_sub(1), '!') {
                        end_of_macro = close(self.tokens, self.at).unwrap_or(self.tokens.len());
                    }
                    depth += 1;
                    self.at += 1;
                }
                Token::Mark(')' | ']' | '}') => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                Token::Mark(':') if self.is_path_separator(self.at) => self.skip_rest_of_path(),
                Token::Mark(_) | Token::Text(_) => self.at += 1,
                Token::Word(word) => {
                    let is_item = depth == 0 || (depth == 1 && self.at < end_of_macro);
                    self.read_word(word, is_item);
                }
            }
        }
    }

    fn read_word(&mut self, word: &str, is_item: bool) {
        let next = self.word(self.at + 1);
        match (word, next) {
            ("pub", None) if self.is_mark(self.at + 1, '(') => {
                self.at = close(self.tokens, self.at + 1).unwrap_or(self.at) + 1;
            }
            ("use", _) if !self.is_mark(self.at + 1, '<') => {
                self.at += 1;
                self.read_use(&[]);
            }
            ("mod", Some(name)) => self.read_module(name),
            ("macro_rules", None) => {
                if let Some(name) = self.word(self.at + 2) {
                    self.module.add(name, Meaning::Item);
                }
                self.at += 3;
            }
            // In `const fn` the second word defines.
            (_, Some(name))
                if DEFINES.contains(&word) && !["async", "fn", "unsafe"].contains(&name) =>
            {
                if is_item {
                    self.module.add(name, Meaning::Item);
                }
                self.at += 2;
            }
            _ => self.read_path(word),
        }
    }

    fn read_module(&mut self, name: &str) {
        self.module.add(name, Meaning::Module);
        self.at += 2;
        if self.is_mark(self.at, '{') {
            let end = close(self.tokens, self.at).unwrap_or(self.tokens.len());
            let inner = Module::read(&self.tokens[self.at + 1..end]);
            self.module.inline.push((name.to_owned(), inner));
            self.at = end + 1;
        }
    }

    /// Reads `a::b`, `a::{b, c as d}`, `a::*` or several of these, which follow `before`.
    fn read_use(&mut self, before: &[String]) {
        let mut segments = before.to_vec();
        while let Some((line, token)) = self.tokens.get(self.at) {
            match token {
                Token::Word(word) => {
                    segments.push(word.clone());
                    self.at += 1;
                    if !self.is_path_separator(self.at) {
                        return self.add_import(*line, segments);
                    }
                }
                Token::Mark(':') => {
                    if segments.is_empty() {
                        segments.push(String::new());
                    }
                    self.at += 2;
                }
                Token::Mark('*') => {
                    self.module.paths.push((*line, segments.clone()));
                    self.module.globs.push(segments);
                    self.at += 1;
                    return;
                }
                Token::Mark('{') => {
                    let end = close(self.tokens, self.at).unwrap_or(self.tokens.len());
                    while self.at < end {
                        self.at += 1;
                        self.read_use(&segments);
                    }
                    self.at = end + 1;
                    return;
                }
                Token::Mark(_) | Token::Text(_) => return,
            }
        }
    }

    /// An import that ends here, apart from its `as`.
    fn add_import(&mut self, line: usize, mut segments: Segments) {
        if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        let mut name = segments.last().cloned().unwrap_or_default();
        if let (Some("as"), Some(alias)) = (self.word(self.at), self.word(self.at + 1)) {
            alias.clone_into(&mut name);
            self.at += 2;
        }
        self.module.paths.push((line, segments.clone()));
        if name != "_" {
            self.module.add(&name, Meaning::Import(segments));
        }
    }

    /// Reads a path in a type, an expression, an attribute. Fields, methods and fragments of a macro are none.
    fn read_path(&mut self, first: &str) {
        let line = self.tokens[self.at].0;
        let follows = |mark| self.is_mark(self.at.wrapping_sub(1), mark);
        let is_member = follows('.') && !self.is_mark(self.at.wrapping_sub(2), '.');
        let is_fragment = follows('$') && first != "crate";
        let mut segments = vec![first.to_owned()];
        self.at += 1;
        while self.is_path_separator(self.at)
            && let Some(word) = self.word(self.at + 2)
        {
            segments.push(word.to_owned());
            self.at += 3;
        }
        if !is_member && !is_fragment {
            self.module.paths.push((line, segments));
        }
    }

    /// What follows the `::` of `::std::fmt`, `<T as Trait>::Item` or `Vec::<u8>::new` is not of this package, or
    /// belongs to a type whose own path counts.
    fn skip_rest_of_path(&mut self) {
        while self.is_path_separator(self.at) {
            self.at += 2;
            self.at += usize::from(self.word(self.at).is_some());
        }
    }

    fn word(&self, at: usize) -> Option<&'a str> {
        match self.tokens.get(at) {
            Some((_, Token::Word(word))) => Some(word),
            _ => None,
        }
    }

    fn is_mark(&self, at: usize, mark: char) -> bool {
        self.tokens.get(at).is_some_and(|(_, token)| *token == Token::Mark(mark))
    }

    fn is_path_separator(&self, at: usize) -> bool {
        self.is_mark(at, ':') && self.is_mark(at + 1, ':')
    }
}
