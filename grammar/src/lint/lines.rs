//! Lines of objects, found again in the text.
//!
//! Lints are rare: to look for the place of one costs less than to keep that of every line.

use std::cell::OnceCell;
use std::collections::HashMap;

use crate::blocks::Blocks;
use crate::source::{Sources, Span};
use crate::tree::{self, Statement, Word};

/// The text of a configuration.
pub(crate) struct Lines<'b, 's> {
    blocks: &'b Blocks<'s>,
    sources: &'s Sources,
    /// Where blocks of the top level with a keyword and a name are, made when one is first asked for.
    named: OnceCell<HashMap<(&'s str, &'s str), usize>>,
}

impl<'b, 's> Lines<'b, 's> {
    /// The text that `blocks` was made of.
    pub fn new(blocks: &'b Blocks<'s>) -> Self {
        Self { blocks, sources: blocks.sources(), named: OnceCell::new() }
    }

    /// The first block `KEYWORD NAME { … }` of the top level, which is the one that counts.
    pub fn object(&self, keyword: &str, name: &str) -> Option<Statement> {
        let named = self.named.get_or_init(|| {
            let all = (0..self.blocks.len()).rev();
            all.map(|index| ((self.blocks.keyword(index), self.blocks.name(index)), index)).collect()
        });
        self.blocks.statement(*named.get(&(keyword, name))?, &mut Vec::new())
    }

    /// All statements of the top level with this keyword.
    pub fn all(&self, keyword: &str) -> impl Iterator<Item = Statement> {
        (0..self.blocks.len())
            .filter(move |index| self.blocks.keyword(*index) == keyword)
            .filter_map(|index| self.blocks.statement(index, &mut Vec::new()))
    }

    /// The statement of the top level in which a place is.
    pub fn around(&self, place: Span) -> Option<Statement> {
        self.blocks.statement(self.blocks.at(place)?, &mut Vec::new())
    }

    /// Keyword and arguments.
    pub fn words(&self, statement: &Statement) -> Vec<Word<'s>> {
        tree::words(self.sources, statement.head).0
    }

    /// Statements of a block that begin with this word.
    pub fn within<'a>(
        &'a self,
        block: &'a Statement,
        keyword: &'a str,
    ) -> impl Iterator<Item = &'a Statement> {
        let statements = block.body.as_ref().map_or(&[][..], |body| &body.statements);
        statements
            .iter()
            .filter(move |line| self.words(line).first().is_some_and(|word| word.text == keyword))
    }

    /// The last statement of a block that begins with this word, which is the one that counts.
    pub fn last<'a>(&'a self, block: &'a Statement, keyword: &'a str) -> Option<&'a Statement> {
        self.within(block, keyword).last()
    }

    /// The place of that.
    pub fn place(&self, block: Option<&Statement>, keyword: &str) -> Option<Span> {
        Some(self.last(block?, keyword)?.head)
    }

    /// What a person wrote right after a word, in the same line.
    pub fn after(&self, word: Word<'_>) -> Option<(Span, char)> {
        let written = self.sources.trace(word.span).at;
        let end = written.range().end;
        let next = self.sources.whole(written.file()).get(end..)?.chars().next()?;
        Some((Span::new(written.file(), end..end + next.len_utf8()), next))
    }

    /// Whether a word stands in quotes.
    pub fn is_quoted(&self, word: Word<'_>) -> bool {
        word.span.range().len() != word.text.len()
    }
}
