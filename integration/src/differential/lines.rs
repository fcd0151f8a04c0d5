//! Lines of iproute2, less what chance and time decide.

/// Lifetimes run: they are shown in hundreds of seconds, rounded up.
const STEP: u64 = 100;

/// The interface of a line of `ip -o link`.
pub fn name(line: &str) -> Option<String> {
    let word = line.split_whitespace().nth(1)?.trim_end_matches(':');
    Some(word.split('@').next().unwrap_or(word).to_owned())
}

/// A line of `ip -details -o link`: what somebody has set.
pub fn link(line: &str) -> String {
    let parts: Vec<Vec<&str>> = line.split('\\').map(|part| part.split_whitespace().collect()).collect();
    let after = |key: &str| {
        parts.iter().find_map(|words| {
            let at = words.iter().position(|word| *word == key)?;
            words.get(at + 1).map(|value| format!("{key} {value}"))
        })
    };
    let first = parts.first().map(Vec::as_slice).unwrap_or_default();
    // The kind has a part of its own, and what all links have follows it.
    let kind = parts.get(2).map(Vec::as_slice).unwrap_or_default();
    let kind = kind.iter().take_while(|word| !["bcqueuelen", "addrgenmode", "numtxqueues"].contains(word));
    let mut words: Vec<String> = first.iter().skip(1).take(2).map(|word| (*word).to_owned()).collect();
    words.extend(["mtu", "state", "master", "group", "link/ether", "alias"].into_iter().filter_map(after));
    words.extend(kind.map(|word| (*word).to_owned()));
    words.extend(after("addrgenmode"));
    words.join(" ")
}

/// A line of `ip -details -o address`, without the interface's number.
pub fn address(line: &str) -> String {
    steady(line.split_once(':').map_or(line, |(_, rest)| rest))
}

/// Routes of `ip -details route`, each with its next hops.
pub fn whole(text: &str) -> Vec<String> {
    let mut routes: Vec<String> = Vec::new();
    for line in text.lines() {
        match routes.last_mut() {
            Some(route) if line.starts_with('\t') => route.push_str(line),
            _ => routes.push(line.to_owned()),
        }
    }
    routes
}

/// A line of `ip -details route` or `ip -details rule`; `None` for what the kernel has made itself.
pub fn of_others(line: &str) -> Option<String> {
    let line = steady(line);
    (!format!("{line} ").contains(" proto kernel ")).then_some(line)
}

/// One blank between words, and no running time.
fn steady(line: &str) -> String {
    let words = line.split(|char: char| char.is_whitespace() || char == '\\').filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(|word| rounded(word).unwrap_or_else(|| word.to_owned())).collect();
    words.join(" ")
}

fn rounded(word: &str) -> Option<String> {
    let seconds: u64 = word.strip_suffix("sec")?.parse().ok()?;
    Some(format!("{}sec", seconds.div_ceil(STEP) * STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_is_left_out() {
        let vmac = "6: vrrp.52@eth0: <BROADCAST,UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000\\    \
                    link/ether 00:00:5e:00:01:34 brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 \\    \
                    macvlan mode private bcqueuelen 1000 usedbcqueuelen 1000 addrgenmode none numtxqueues 1";
        assert_eq!(name(vmac).as_deref(), Some("vrrp.52"));
        assert_eq!(
            link(vmac),
            "vrrp.52@eth0: <BROADCAST,UP> mtu 1500 state UP group default link/ether 00:00:5e:00:01:34 macvlan mode private \
             addrgenmode none"
        );
        for (line, want) in [
            (
                "3: eth0    inet 10.0.0.100/24 scope global secondary eth0:v\\       valid_lft forever preferred_lft forever",
                "eth0 inet 10.0.0.100/24 scope global secondary eth0:v valid_lft forever preferred_lft forever",
            ),
            (
                "3: eth0    inet6 fd00::1/64 scope global nodad \\       valid_lft forever preferred_lft 999sec",
                "eth0 inet6 fd00::1/64 scope global nodad valid_lft forever preferred_lft 1000sec",
            ),
            (
                "3: eth0    inet6 fd00::1/64 scope global deprecated \\       valid_lft forever preferred_lft 0sec",
                "eth0 inet6 fd00::1/64 scope global deprecated valid_lft forever preferred_lft 0sec",
            ),
        ] {
            assert_eq!(address(line), want);
        }
    }

    #[test]
    fn next_hops_belong_to_their_route() {
        let text = "unicast 10.8.3.0/24 proto 18\n\tnexthop via 10.0.0.2 \n\tnexthop via 10.0.1.2 \nlocal 10.0.0.1\n";
        let routes: Vec<Option<String>> = whole(text).iter().map(|route| of_others(route)).collect();
        let want =
            ["unicast 10.8.3.0/24 proto 18 nexthop via 10.0.0.2 nexthop via 10.0.1.2", "local 10.0.0.1"];
        assert_eq!(routes, want.map(|route| Some(route.to_owned())));
    }

    #[test]
    fn what_the_kernel_makes_is_nobody_s() {
        for (line, want) in [
            ("local 10.0.0.1 dev eth0 table local proto kernel scope host src 10.0.0.1 ", None),
            ("32766:\tfrom all lookup main proto kernel", None),
            (
                "700:\tfrom 10.7.0.0/16 lookup 7 proto keepalived",
                Some("700: from 10.7.0.0/16 lookup 7 proto keepalived"),
            ),
            (
                "unicast fd08::/64 via fd00::2 dev eth0 table main proto keepalived scope global metric 1024 expires 57sec pref medium",
                Some(
                    "unicast fd08::/64 via fd00::2 dev eth0 table main proto keepalived scope global metric 1024 expires 100sec pref medium",
                ),
            ),
        ] {
            assert_eq!(of_others(line).as_deref(), want);
        }
    }
}
