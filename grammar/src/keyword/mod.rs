//! Keyword tables: what may stand in each block, read by the parser, by did-you-mean and by
//! documentation.
//!
//! Here: rows and tables, and running a table over a block. Not here: the rows (one file per
//! block), how arguments are read (`call`).

mod address;
mod bfd;
mod call;
mod checker;
mod context;
mod doc;
mod file;
mod global;
mod group;
mod instance;
mod line;
mod link;
mod many;
mod nexthop;
mod options;
mod process;
mod real_server;
mod resolve;
mod root;
mod route;
mod rule;
mod script;
mod server_group;
mod tls;
mod tracking;
mod virtual_server;

pub(crate) use context::{Context, MOST};
pub use doc::{Block, blocks};
pub use instance::hmac_key;

pub(crate) use root::lower;

use call::Call;

use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::suggest::nearest;
use crate::tree::{self, Statement};

/// What is known about a keyword.
#[derive(Clone, Copy, Debug)]
pub struct Keyword {
    /// The word.
    pub name: &'static str,
    /// Its arguments as documentation writes them; `{ … }` stands for a block.
    pub arguments: &'static str,
    /// What a value may be, where there is a limit.
    pub range: &'static str,
    /// Value when it is absent.
    pub default: WhenAbsent,
    /// One line about what it does.
    pub help: &'static str,
    /// Arguments of an example; of a block what stands in its braces. Empty: the default, or none.
    pub example: &'static str,
    /// Whether it does that.
    pub serves: Serves,
    /// Whether it has a block.
    pub block: bool,
    /// Name of the table that says what may stand in its block; empty where lines are free.
    pub opens: &'static str,
}

/// Value of a keyword that is absent.
#[derive(Clone, Copy, Debug)]
pub enum WhenAbsent {
    /// None, or off.
    Nothing,
    /// This text, read by the function that reads the user's.
    Text(&'static str),
    /// Depends on something else: said in words.
    Said(&'static str),
}

/// Whether a keyword does what keepalived does on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// It does: the part of its block ([`Block::part`]).
    Served,
    /// It does, by another part than the rest of its block.
    By(Part),
    /// Not yet: a warning says so, and this text what it means.
    Unserved(&'static str),
}

/// The part of lbd that does what a keyword says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Reading the configuration itself.
    Language,
    /// The process: start, reload, stop, log.
    Process,
    /// Running programs.
    Scripts,
    /// Virtual routers: election, packets, tracking.
    Vrrp,
    /// Addresses, routes, rules and links of the kernel.
    Network,
    /// Health checks.
    Checks,
    /// Quorum, weights and the kernel's IPVS table.
    Director,
    /// Telling others: notify scripts, FIFOs, mail.
    Notify,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Language => "language",
            Part::Process => "process",
            Part::Scripts => "scripts",
            Part::Vrrp => "VRRP",
            Part::Network => "network",
            Part::Checks => "checks",
            Part::Director => "director",
            Part::Notify => "notifications",
        })
    }
}

/// A keyword and the function that lowers its arguments into `B`.
pub(crate) struct Row<B> {
    pub keyword: Keyword,
    lower: fn(&mut B, &mut Call<'_, '_>),
}

impl<B> Clone for Row<B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Row<B> {}

/// A keyword that is served.
const fn row<B>(
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    lower: fn(&mut B, &mut Call<'_, '_>),
) -> Row<B> {
    Row { keyword: Keyword::new(name, arguments, help), lower }
}

/// A keyword that is lowered and that no code serves yet; `means` says what that means for the user.
const fn later<B>(
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    means: &'static str,
    lower: fn(&mut B, &mut Call<'_, '_>),
) -> Row<B> {
    let keyword = Keyword { serves: Serves::Unserved(means), ..Keyword::new(name, arguments, help) };
    Row { keyword, lower }
}

impl Keyword {
    /// A keyword that is served, without range, default, example and block.
    pub(crate) const fn new(name: &'static str, arguments: &'static str, help: &'static str) -> Self {
        Keyword {
            name,
            arguments,
            range: "",
            default: WhenAbsent::Nothing,
            help,
            example: "",
            serves: Serves::Served,
            block: false,
            opens: "",
        }
    }
}

impl<B> Row<B> {
    /// With a range.
    const fn range(mut self, range: &'static str) -> Self {
        self.keyword.range = range;
        self
    }

    /// With a default as text.
    const fn default(mut self, text: &'static str) -> Self {
        self.keyword.default = WhenAbsent::Text(text);
        self
    }

    /// With a default in words.
    const fn otherwise(mut self, text: &'static str) -> Self {
        self.keyword.default = WhenAbsent::Said(text);
        self
    }

    /// With the arguments of an example, or what stands in its braces.
    const fn example(mut self, text: &'static str) -> Self {
        self.keyword.example = text;
        self
    }

    /// Served by another part than the rest of its block.
    const fn by(mut self, part: Part) -> Self {
        self.keyword.serves = Serves::By(part);
        self
    }

    /// With a block of free lines.
    const fn block(mut self) -> Self {
        self.keyword.block = true;
        self
    }

    /// With a block that this table describes.
    const fn opens(mut self, table: &'static str) -> Self {
        self.keyword.opens = table;
        self.block()
    }
}

/// The rows of a block, in groups that blocks may share.
pub(crate) struct Table<B: 'static> {
    /// The keyword of the block; empty for the top level.
    pub name: &'static str,
    /// What serves its rows, unless they say otherwise.
    pub part: Part,
    pub rows: &'static [&'static [Row<B>]],
}

impl<B: Default> Table<B> {
    pub fn rows(&self) -> impl Iterator<Item = &'static Row<B>> {
        self.rows.iter().flat_map(|group| group.iter())
    }

    fn find(&self, name: &str) -> Option<&'static Row<B>> {
        self.rows().find(|row| row.keyword.name == name)
    }

    /// What a block without any statement means: the rows' defaults, lowered by their functions.
    fn defaults(&self, context: &mut Context<'_>) -> B {
        let mut builder = B::default();
        for row in self.rows() {
            if let WhenAbsent::Text(text) = row.keyword.default {
                let words = tree::words_of(text, context.nowhere);
                (row.lower)(&mut builder, &mut Call::new(context, row.keyword, words, None));
            }
        }
        builder
    }

    /// Lowers the statements of a block into `builder`, one after the other.
    fn run(&self, builder: &mut B, statements: &[Statement], context: &mut Context<'_>) {
        for statement in statements {
            self.one(builder, statement, context);
        }
    }

    fn one(&self, builder: &mut B, statement: &Statement, context: &mut Context<'_>) {
        let sources = context.sources;
        let (words, open_quote) = tree::words(sources, statement.head);
        let Some(first) = words.first().copied() else {
            context.report_headless(statement, open_quote);
            return;
        };
        let next = context.diagnostics.len();
        if context.is_undefined(statement, &words) {
            context.note_lost(self.name, first.text, next);
            return;
        }
        let Some(row) = self.find(first.text) else {
            if !context.is_full() {
                let (diagnostic, meant) = self.unknown(first, statement);
                context.report(diagnostic);
                if let Some(meant) = meant {
                    context.note_lost(self.name, meant, next);
                }
            }
            return;
        };
        let keyword = row.keyword;
        let name = keyword.name;
        match (&statement.body, keyword.block) {
            (Some(body), false) => {
                let stray = words.iter().skip(1).find(|word| doc::is_block(word.text));
                let (message, span) = match stray {
                    Some(word) => {
                        (format!("{} must stand on a line of its own", quote(word.text)), word.span)
                    }
                    None => (format!("{} takes no block", quote(name)), body.open),
                };
                context.report(
                    Diagnostic::warning(Kind::BadValue, Some(span), message)
                        .label("this block is ignored")
                        .help("one keyword per line: begin a new line before it"),
                );
            }
            (None, true) => {
                context.report(
                    Diagnostic::warning(
                        Kind::BadValue,
                        Some(first.span),
                        format!("{} needs a block, so it is ignored", quote(name)),
                    )
                    .help(format!("write `{name} {}`", keyword.arguments)),
                );
                context.note_lost(self.name, name, next);
                return;
            }
            _ => {}
        }
        if keyword.block && statement.body.is_none() {
            return;
        }
        let mut call = Call::new(context, keyword, words, Some(statement));
        if let Some(open) = open_quote
            && !call.is_command()
        {
            call.context.report_open_quote(open);
            context.note_lost(self.name, name, next);
            return;
        }
        if let Serves::Unserved(_) = keyword.serves {
            call.context.unserved_depth += 1;
        }
        (row.lower)(builder, &mut call);
        if let Some(said) = call.said() {
            call.context.note_lost(self.name, name, said);
        }
        let well = call.said().is_none() && !call.is_off();
        call.finish(|word| self.find(word).is_some());
        if let Serves::Unserved(means) = keyword.serves {
            context.unserved_depth -= 1;
            // A value that was ignored has its own diagnostic.
            if well || keyword.block {
                context.unserved(first.span, &quote(name), means);
            }
        }
    }

    /// What is said of an unknown keyword, and the one that was probably meant.
    fn unknown(&self, word: tree::Word<'_>, statement: &Statement) -> (Diagnostic, Option<&'static str>) {
        let message = format!("unknown keyword {}", quote(word.text));
        let mut diagnostic = Diagnostic::warning(Kind::UnknownKeyword, Some(word.span), message);
        diagnostic.label = Some(match statement.body {
            Some(_) => "ignored with its block".into(),
            None => "ignored".into(),
        });
        // In global_defs the keywords that instances inherit have this prefix.
        let prefixed = |row: &&Row<B>| {
            row.keyword.name.strip_prefix("vrrp_") == Some(word.text)
                && instance::inherits(word.text, row.keyword.name)
                && !matches!(row.keyword.serves, Serves::Unserved(_))
                && row.keyword.block == statement.body.is_some()
        };
        if let Some(row) = self.rows().find(prefixed) {
            let name = row.keyword.name;
            return (diagnostic.help(format!("did you mean `{name}`?")).fix(word.span, name), Some(name));
        }
        let homes = doc::homes(word.text);
        if !homes.is_empty() && homes != [self.name] {
            return (diagnostic.help(format!("it belongs {}", doc::shown_all(homes))), None);
        }
        let near = nearest(word.text, self.rows().map(|row| row.keyword.name));
        let diagnostic = match near {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(word.span, near),
            None => diagnostic.help(match self.name {
                "" => "remove it, or check the braces before it".into(),
                name => format!("remove it; `{name}` has no such keyword"),
            }),
        };
        (diagnostic, near)
    }
}

#[cfg(test)]
mod tests;
