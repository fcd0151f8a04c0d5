//! What may stand in every block, since it is done before keywords are looked at: includes, conditions,
//! definitions, generators.

use lbd_grammar::Part;

use super::explain::Explained;

/// A form of the language.
struct Form {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    example: &'static str,
}

const FORMS: &[Form] = &[
    form(
        "include",
        " PATTERN",
        "Read the files of this name or pattern in the place of the line.",
        "include conf.d/*.conf",
    ),
    form(
        "includer",
        " PATTERN",
        "As include; a file that cannot be read is an error.",
        "includer servers.conf",
    ),
    form(
        "includem",
        " PATTERN",
        "As includer, and a name that is not there is one.",
        "includem servers.conf",
    ),
    form(
        "includew",
        " PATTERN",
        "As includem, and a pattern that finds nothing is one.",
        "includew conf.d/*.conf",
    ),
    form(
        "includeb",
        " PATTERN",
        "As includer, and an alternative that finds nothing is one.",
        "includeb {a,b}.conf",
    ),
    form("includea", " PATTERN", "As include, and every problem is an error.", "includea {a,b}.conf"),
    form("@ID", " LINE", "A line for the host with this id alone: see -i.", "@lb1 priority 150"),
    form("@^ID", " LINE", "A line for all other hosts.", "@^lb1 priority 100"),
    form(
        "$NAME",
        "=VALUE",
        "What ${NAME}, or $NAME at the end of a word, stands for from here on.",
        "$VIP=192.0.2.10",
    ),
    form(
        "~SEQ",
        "(VAR, START, STEP, END) LINE",
        "The line once for each number.",
        "~SEQ(n, 1, 9) 10.0.0.${n}",
    ),
    form(
        "~SEQx",
        "(VAR, START, STEP, END) LINE",
        "The same in hexadecimal.",
        "~SEQx(n, 1, 31) 2001:db8::${n}",
    ),
    form("~LST", "(VAR, VALUE, …) LINE", "The line once for each value.", "~LST(if, eth0, eth1) ${if}"),
];

const fn form(
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    example: &'static str,
) -> Form {
    Form { name, arguments, help, example }
}

/// Where they may stand, in words.
pub(super) const PLACE: &str = "anywhere";

/// Their names.
pub(super) fn names() -> Vec<&'static str> {
    FORMS.iter().map(|form| form.name).collect()
}

/// The form that a word is of.
pub(super) fn explain(word: &str) -> Option<Explained> {
    let name = match word.get(..1)? {
        "@" if word.starts_with("@^") => "@^ID",
        "@" => "@ID",
        "$" => "$NAME",
        "~" => word.split('(').next().unwrap_or(word),
        _ => word,
    };
    FORMS.iter().find(|form| form.name == name).map(|form| Explained {
        keyword: form.name,
        places: vec![PLACE.to_owned()],
        synopsis: format!("{}{}", form.name, form.arguments),
        help: form.help,
        range: None,
        default: None,
        served: true,
        part: Some(Part::Language.to_string()),
        means: None,
        example: format!("{}\n", form.example),
        holds: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_known_by_what_is_written() {
        for (word, want) in [
            ("include", Some("include")),
            ("@lb1", Some("@ID")),
            ("@^lb1", Some("@^ID")),
            ("$VIP=10.0.0.1", Some("$NAME")),
            ("~SEQ", Some("~SEQ")),
            ("~SEQx(n,1,9)", Some("~SEQx")),
            ("~LST(a,b)", Some("~LST")),
            ("~", None),
            ("includes", None),
            ("", None),
            ("\u{fc}", None),
        ] {
            assert_eq!(explain(word).map(|found| found.keyword), want, "{word}");
        }
    }

    /// Each example does what its help says.
    #[test]
    fn examples_are_read() {
        for form in FORMS {
            let text = format!("$n=1\n$if=eth0\nvirtual_server_group one {{\n{}\n}}\n", form.example);
            let loaded = lbd_grammar::load_str("example", &text);
            for found in &loaded.diagnostics {
                assert!(
                    !matches!(found.kind, lbd_grammar::Kind::Syntax | lbd_grammar::Kind::UnknownKeyword),
                    "{}: {}",
                    form.name,
                    found.summary(&loaded.sources)
                );
            }
        }
    }
}
