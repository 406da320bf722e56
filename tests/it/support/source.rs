//! Rust sources as tokens with their lines, without comments.

use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::str::Chars;

/// A token, as far as the rules of the architecture need to tell them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A name, a keyword or a number.
    Word(String),
    /// The content of a string or character literal.
    Text(String),
    /// Any other character.
    Mark(char),
}

/// One file of one package.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the root of the workspace.
    pub(crate) path: PathBuf,
    /// Each with its line, counted from 1.
    pub(crate) tokens: Vec<(usize, Token)>,
    line_count: usize,
    is_test: bool,
}

impl Source {
    pub(crate) fn new(path: impl Into<PathBuf>, text: &str) -> Self {
        let path = path.into();
        let is_test = path.file_name().is_some_and(|name| name == "tests.rs")
            || path.components().any(|part| part.as_os_str() == "tests");
        Self { path, tokens: tokens(text), line_count: text.lines().count(), is_test }
    }

    /// Every `.rs` file below `directory`, which is relative to the root of the workspace.
    pub(crate) fn below(directory: &str) -> Vec<Self> {
        let root = workspace();
        let mut found = Vec::new();
        let mut left = vec![root.join(directory)];
        while let Some(next) = left.pop() {
            for entry in std::fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    left.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    found.push(Self::new(path.strip_prefix(root).unwrap(), &text));
                }
            }
        }
        found.sort_by(|one, other| one.path.cmp(&other.path));
        mark_tests(&mut found);
        found
    }

    /// The file without its test modules. Empty if the whole file is a test.
    pub(crate) fn without_tests(&self) -> Self {
        let path = self.path.clone();
        if self.is_test {
            return Self { path, tokens: Vec::new(), line_count: 0, is_test: true };
        }
        let mut kept = Vec::new();
        let mut line_count = self.line_count;
        let mut rest = &self.tokens[..];
        while let Some(first) = rest.first() {
            if let Some(length) = test_module(rest) {
                line_count -= rest[length - 1].0 - first.0 + 1;
                rest = &rest[length..];
            } else {
                kept.push(first.clone());
                rest = &rest[1..];
            }
        }
        Self { path, tokens: kept, line_count, is_test: false }
    }

    /// The paths, without `.rs`, of the files that this file declares as test modules.
    fn test_files(&self) -> Vec<PathBuf> {
        let stem = self.path.file_stem().unwrap_or_default();
        let is_door = ["lib", "main", "mod"].iter().any(|door| stem == *door);
        let home =
            if is_door { self.path.with_file_name("") } else { self.path.with_extension("") };
        let declared = (0..self.tokens.len()).filter_map(|at| {
            let rest = &self.tokens[at..];
            match &rest[..test_module(rest)?] {
                [.., (_, Token::Word(name)), (_, Token::Mark(';'))] => Some(home.join(name)),
                _ => None,
            }
        });
        declared.collect()
    }

    pub(crate) fn line_count(&self) -> usize {
        self.line_count
    }

    /// The names, keywords and numbers, each with its line.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        self.tokens.iter().filter_map(|(line, token)| match token {
            Token::Word(word) => Some((*line, word.as_str())),
            Token::Text(_) | Token::Mark(_) => None,
        })
    }

    /// Each occurrence of `wanted`, as its line and the tokens that follow it. White space does not count.
    pub(crate) fn find<'a>(
        &'a self,
        wanted: &'a str,
    ) -> impl Iterator<Item = (usize, &'a [(usize, Token)])> {
        let wanted = tokens(wanted);
        self.tokens.windows(wanted.len()).enumerate().filter_map(move |(at, window)| {
            let is_here = window.iter().map(|(_, token)| token).eq(wanted.iter().map(|(_, p)| p));
            is_here.then(|| (window[0].0, &self.tokens[at + window.len()..]))
        })
    }
}

/// Marks every file that belongs to a test module.
pub(crate) fn mark_tests(sources: &mut [Source]) {
    let tests: Vec<_> = sources.iter().flat_map(Source::test_files).collect();
    for source in sources {
        let module = source.path.with_extension("");
        source.is_test |= tests.iter().any(|test| module.starts_with(test));
    }
}

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The number of tokens of the test module at the beginning of `rest`, if there is one.
fn test_module(rest: &[(usize, Token)]) -> Option<usize> {
    let is = |at: usize, mark: char| rest.get(at).is_some_and(|(_, p)| *p == Token::Mark(mark));
    let word = |at: usize| match rest.get(at) {
        Some((_, Token::Word(word))) => word.as_str(),
        _ => "",
    };
    if !(is(0, '#') && is(1, '[') && word(2) == "cfg") {
        return None;
    }
    let end = close(rest, 1)?;
    let condition: Vec<_> = (3..end).map(word).collect();
    if !condition.contains(&"test") || condition.contains(&"not") {
        return None;
    }
    let mut at = end + 1;
    while is(at, '#') {
        at = close(rest, at + 1)? + 1;
    }
    let body = (at..rest.len()).find(|at| is(*at, '{') || is(*at, ';'))?;
    let is_module = (at..body).any(|at| word(at) == "mod");
    let last = if is(body, '{') { close(rest, body)? } else { body };
    is_module.then_some(last + 1)
}

/// The index of the bracket that closes the one at `open`.
pub(crate) fn close(tokens: &[(usize, Token)], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, (_, token)) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            Token::Mark(_) | Token::Word(_) | Token::Text(_) => {}
        }
    }
    None
}

fn tokens(text: &str) -> Vec<(usize, Token)> {
    let mut reader = Reader { left: text.chars().peekable(), line: 1 };
    let mut found = Vec::new();
    loop {
        let line = reader.line;
        let Some(first) = reader.next() else { return found };
        let token = match first {
            '/' if reader.left.peek() == Some(&'/') => {
                reader.take_while(|c| c != '\n');
                None
            }
            '/' if reader.left.peek() == Some(&'*') => {
                reader.skip_comment();
                None
            }
            '"' => Some(Token::Text(reader.string())),
            '\'' => reader.character(),
            c if is_of_word(c) => {
                let word = reader.take_while(is_of_word);
                Some(reader.word(format!("{c}{word}")))
            }
            c if c.is_whitespace() => None,
            c => Some(Token::Mark(c)),
        };
        found.extend(token.map(|token| (line, token)));
    }
}

struct Reader<'a> {
    left: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.left.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn take_while(&mut self, is_wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.left.next_if(|c| is_wanted(*c)) {
            self.line += usize::from(c == '\n');
            taken.push(c);
        }
        taken
    }

    /// Block comments nest.
    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        let mut before = '/';
        while let Some(c) = self.next() {
            match (before, c) {
                ('/', '*') => (depth, before) = (depth + 1, ' '),
                ('*', '/') => (depth, before) = (depth.saturating_sub(1), ' '),
                _ => before = c,
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.next() {
            match c {
                '"' => break,
                '\\' => text.extend(self.next()),
                c => text.push(c),
            }
        }
        text
    }

    /// Reads on after `word`: a prefix such as `r` or `b` begins a string literal.
    fn word(&mut self, word: String) -> Token {
        let is_raw = matches!(word.as_str(), "r" | "br" | "cr");
        match self.left.peek() {
            Some('"') if matches!(word.as_str(), "b" | "c") => {
                self.next();
                Token::Text(self.string())
            }
            Some('"') if is_raw => Token::Text(self.raw_string(0)),
            Some('#') if is_raw => {
                let hashes = self.take_while(|c| c == '#').len();
                match self.left.peek() {
                    Some('"') => Token::Text(self.raw_string(hashes)),
                    // A raw identifier, such as `r#type`.
                    _ => Token::Word(self.take_while(is_of_word)),
                }
            }
            _ => Token::Word(word),
        }
    }

    fn raw_string(&mut self, hashes: usize) -> String {
        let end = format!("\"{}", "#".repeat(hashes));
        self.next();
        let mut text = String::new();
        while let Some(c) = self.next() {
            text.push(c);
            if text.ends_with(&end) {
                text.truncate(text.len() - end.len());
                break;
            }
        }
        text
    }

    /// A character literal; nothing for a lifetime.
    fn character(&mut self) -> Option<Token> {
        let first = self.left.peek().copied()?;
        let is_lifetime = is_of_word(first) && {
            let mut ahead = self.left.clone();
            ahead.next();
            ahead.next() != Some('\'')
        };
        if is_lifetime {
            self.take_while(is_of_word);
            return None;
        }
        let mut text = String::new();
        while let Some(c) = self.next() {
            match c {
                '\'' => break,
                '\\' => text.extend(self.next()),
                c => text.push(c),
            }
        }
        Some(Token::Text(text))
    }
}

fn is_of_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
