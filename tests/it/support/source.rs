//! Rust sources as the rules of the house see them: words with their lines, without comments.

use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::str::Chars;

/// A piece of source text that means something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A name, a keyword or a number.
    Word(String),
    /// What a string literal holds.
    Text(String),
    /// Any other character.
    Mark(char),
}

/// One file of one package.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the root of the workspace.
    pub(crate) path: PathBuf,
    /// Each with its line; the first line is 1. Comments are left out.
    pub(crate) pieces: Vec<(usize, Piece)>,
    line_count: usize,
    is_test: bool,
}

impl Source {
    pub(crate) fn new(path: impl Into<PathBuf>, text: &str) -> Self {
        let path = path.into();
        let is_test = path.file_name().is_some_and(|name| name == "tests.rs")
            || path.components().any(|part| part.as_os_str() == "tests");
        Self { path, pieces: pieces(text), line_count: text.lines().count(), is_test }
    }

    /// Every `.rs` file below `directory`, which is named from the root of the workspace.
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

    /// The file without the modules in it that are tests; empty if all of it is.
    pub(crate) fn without_tests(&self) -> Self {
        let path = self.path.clone();
        if self.is_test {
            return Self { path, pieces: Vec::new(), line_count: 0, is_test: true };
        }
        let mut kept = Vec::new();
        let mut line_count = self.line_count;
        let mut rest = &self.pieces[..];
        while let Some(first) = rest.first() {
            if let Some(length) = test_module(rest) {
                line_count -= rest[length - 1].0 - first.0 + 1;
                rest = &rest[length..];
            } else {
                kept.push(first.clone());
                rest = &rest[1..];
            }
        }
        Self { path, pieces: kept, line_count, is_test: false }
    }

    /// Where those modules are that only tests have and that are files of their own, without `.rs`.
    fn test_files(&self) -> Vec<PathBuf> {
        let stem = self.path.file_stem().unwrap_or_default();
        let is_door = ["lib", "main", "mod"].iter().any(|door| stem == *door);
        let home =
            if is_door { self.path.with_file_name("") } else { self.path.with_extension("") };
        let declared = (0..self.pieces.len()).filter_map(|at| {
            let rest = &self.pieces[at..];
            match &rest[..test_module(rest)?] {
                [.., (_, Piece::Word(name)), (_, Piece::Mark(';'))] => Some(home.join(name)),
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
        self.pieces.iter().filter_map(|(line, piece)| match piece {
            Piece::Word(word) => Some((*line, word.as_str())),
            Piece::Text(_) | Piece::Mark(_) => None,
        })
    }

    /// Each place where `wanted` stands, as its line and what follows it. Blanks do not count.
    pub(crate) fn find<'a>(
        &'a self,
        wanted: &'a str,
    ) -> impl Iterator<Item = (usize, &'a [(usize, Piece)])> {
        let wanted = pieces(wanted);
        self.pieces.windows(wanted.len()).enumerate().filter_map(move |(at, window)| {
            let is_here = window.iter().map(|(_, piece)| piece).eq(wanted.iter().map(|(_, p)| p));
            is_here.then(|| (window[0].0, &self.pieces[at + window.len()..]))
        })
    }
}

/// Marks every file that belongs to a module which only tests have.
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

/// How many pieces the test module at the beginning of `rest` has, if there is one.
fn test_module(rest: &[(usize, Piece)]) -> Option<usize> {
    let is = |at: usize, mark: char| rest.get(at).is_some_and(|(_, p)| *p == Piece::Mark(mark));
    let word = |at: usize| match rest.get(at) {
        Some((_, Piece::Word(word))) => word.as_str(),
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

/// Where the bracket closes that opens at `open`.
pub(crate) fn close(pieces: &[(usize, Piece)], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, (_, piece)) in pieces.iter().enumerate().skip(open) {
        match piece {
            Piece::Mark('(' | '[' | '{') => depth += 1,
            Piece::Mark(')' | ']' | '}') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            Piece::Mark(_) | Piece::Word(_) | Piece::Text(_) => {}
        }
    }
    None
}

fn pieces(text: &str) -> Vec<(usize, Piece)> {
    let mut reader = Reader { left: text.chars().peekable(), line: 1 };
    let mut found = Vec::new();
    loop {
        let line = reader.line;
        let Some(first) = reader.next() else { return found };
        let piece = match first {
            '/' if reader.left.peek() == Some(&'/') => {
                reader.take_while(|c| c != '\n');
                None
            }
            '/' if reader.left.peek() == Some(&'*') => {
                reader.skip_comment();
                None
            }
            '"' => Some(Piece::Text(reader.string())),
            '\'' => reader.character(),
            c if is_of_word(c) => {
                let word = reader.take_while(is_of_word);
                Some(reader.word(format!("{c}{word}")))
            }
            c if c.is_whitespace() => None,
            c => Some(Piece::Mark(c)),
        };
        found.extend(piece.map(|piece| (line, piece)));
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

    /// Comments of this kind stand within each other.
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

    /// A prefix such as `r` or `b` makes what follows a string of its own kind.
    fn word(&mut self, word: String) -> Piece {
        let is_raw = matches!(word.as_str(), "r" | "br" | "cr");
        match self.left.peek() {
            Some('"') if matches!(word.as_str(), "b" | "c") => {
                self.next();
                Piece::Text(self.string())
            }
            Some('"') if is_raw => Piece::Text(self.raw_string(0)),
            Some('#') if is_raw => {
                let hashes = self.take_while(|c| c == '#').len();
                match self.left.peek() {
                    Some('"') => Piece::Text(self.raw_string(hashes)),
                    // A name that is also a keyword.
                    _ => Piece::Word(self.take_while(is_of_word)),
                }
            }
            _ => Piece::Word(word),
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

    /// A character, or the mark before the name of a lifetime.
    fn character(&mut self) -> Option<Piece> {
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
        Some(Piece::Text(text))
    }
}

fn is_of_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
