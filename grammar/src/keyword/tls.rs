//! SSL.
//!
//! Here: its rows. Not here: the checks that use it (`checker`).

use super::call::Call;
use super::root::Root;
use super::{Part, Row, Table, row};
use crate::config::ClientTls;
use crate::diagnostic::{Diagnostic, Kind, quote};

/// What the rows below fill.
type B = ClientTls;

pub(crate) static TABLE: Table<ClientTls> = Table { name: "SSL", part: Part::Checks, rows: &[ROWS] };

const ROWS: &[Row<ClientTls>] = &[
    row("password", "SECRET", "Pass phrase of the key.", |b: &mut B, c| {
        let Some(word) = c.word() else { return };
        if c.rest().is_empty() {
            b.password = Some(word.text.to_owned());
            return;
        }
        // The words are not shown: they may all be of the pass phrase.
        let place = c.place();
        c.say(
            Diagnostic::warning(Kind::BadValue, Some(place), "`password` has several words")
                .label("ignored")
                .help("put a pass phrase with blanks in quotes"),
        );
    })
    .example("secret"),
    row("ca", "FILE", "Certificates of authorities.", |b: &mut B, c| b.ca = file(c).or(b.ca.take()))
        .example("/etc/ssl/certs/ca.pem"),
    row("certificate", "FILE", "Certificate that is shown to the server.", |b: &mut B, c| {
        b.certificate = file(c).or(b.certificate.take());
    })
    .example("/etc/ssl/client.pem"),
    row("key", "FILE", "Key of the certificate.", |b: &mut B, c| b.key = file(c).or(b.key.take()))
        .example("/etc/ssl/private/client.pem"),
];

fn file(call: &mut Call<'_, '_>) -> Option<String> {
    let word = call.word()?;
    if word.text.is_empty() {
        call.bad(word, format!("{} is no file", quote(word.text)), "a path");
        return None;
    }
    Some(word.text.to_owned())
}

/// Lowers the block. The last one counts.
pub(super) fn lower(root: &mut Root, call: &mut Call<'_, '_>) {
    let mut tls = ClientTls::default();
    TABLE.run(&mut tls, call.body(), call.context);
    let place = call.place();
    if let Some(before) = call.context.spans.tls.replace(place) {
        call.say(
            Diagnostic::warning(Kind::BadValue, Some(before), "`SSL` is given twice")
                .label("ignored with its block")
                .related(Some(place), "this one counts")
                .help("remove one of them"),
        );
    }
    let alone = match (&tls.certificate, &tls.key) {
        (Some(_), None) => Some(("certificate", "key")),
        (None, Some(_)) => Some(("key", "certificate")),
        _ => None,
    };
    if let Some((there, missing)) = alone {
        let message = format!("`SSL` has a `{there}` and no usable `{missing}`: no certificate is shown");
        call.say(
            Diagnostic::warning(Kind::Lint, Some(place), message)
                .help(format!("add `{missing} FILE`, or remove `{there}`")),
        );
    }
    root.config.tls = Some(tls);
}
