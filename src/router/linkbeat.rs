//! linkbeat_interfaces: a thread that asks for the beat of links every second.
//!
//! Here: which way of asking works for an interface, and what changed. Not here: the system calls (`sys`), what a
//! beat means (`links`). A driver may take its time to answer: nobody else waits for this thread.

mod sys;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use lbd_grammar::config::{LinkbeatInterface, LinkbeatMethod};
use nix::errno::Errno;

use super::links::Post;
use super::mailbox::{Slot, Waker};

/// Between two questions.
const EVERY: Duration = Duration::from_secs(1);
/// In which order they are tried. The last works for every interface.
const METHODS: [LinkbeatMethod; 3] = [LinkbeatMethod::Mii, LinkbeatMethod::Ethtool, LinkbeatMethod::Ioctl];
/// Drivers of interfaces that have no link of their own: their parent's is polled, or none.
const STACKED: [&str; 3] = ["macvlan", "macvtap", "ipvlan"];

/// The thread. Dropping it ends the thread, soon.
#[derive(Debug)]
pub(super) struct Poller {
    _life: SyncSender<()>,
}

impl Poller {
    /// Starts it in the network namespace of the calling thread; with its number it tells what it finds.
    pub fn start(
        interfaces: Vec<LinkbeatInterface>,
        number: u64,
        post: Arc<Slot<Post>>,
        waker: Waker,
    ) -> std::io::Result<Poller> {
        let socket = sys::LinkSocket::open()?;
        let (life, ended) = sync_channel(0);
        let polled: Vec<Polled> = interfaces.into_iter().map(Polled::new).collect();
        std::thread::Builder::new().name("linkbeat".into()).spawn(move || {
            run(&socket, polled, &ended, |beats| {
                post.with(|post| post.tell(number, beats));
                waker.wake();
            });
        })?;
        Ok(Poller { _life: life })
    }
}

fn run(
    driver: &impl Driver,
    mut polled: Vec<Polled>,
    ended: &Receiver<()>,
    tell: impl Fn(HashMap<String, Option<bool>>),
) {
    loop {
        let changed: HashMap<String, Option<bool>> =
            polled.iter_mut().filter_map(|one| Some((one.name.clone(), one.look(driver)?))).collect();
        if !changed.is_empty() {
            tell(changed);
        }
        if !matches!(ended.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

/// Whom to ask.
trait Driver {
    /// Whether the link of an interface has a beat.
    fn beat(&self, name: &str, method: LinkbeatMethod) -> nix::Result<bool>;
    /// Name of the interface's driver.
    fn name(&self, interface: &str) -> nix::Result<String>;
}

/// An interface.
#[derive(Debug)]
struct Polled {
    name: String,
    configured: Option<LinkbeatMethod>,
    /// The way that works; `None`: not tried yet, or the interface is not there.
    method: Option<LinkbeatMethod>,
    /// It has no link of its own.
    stacked: bool,
    /// As it was told last; at first nothing is known.
    told: Option<bool>,
}

impl Polled {
    fn new(line: LinkbeatInterface) -> Self {
        Polled { name: line.interface, configured: line.method, method: None, stacked: false, told: None }
    }

    /// Asks; what there is to tell, if it is not what was told last.
    fn look(&mut self, driver: &impl Driver) -> Option<Option<bool>> {
        let beat = self.beat(driver);
        (std::mem::replace(&mut self.told, beat) != beat).then_some(beat)
    }

    /// `None` if the interface is not there, or has no link of its own.
    fn beat(&mut self, driver: &impl Driver) -> Option<bool> {
        if let Some(method) = self.method
            && let Ok(beat) = driver.beat(&self.name, method)
        {
            return Some(beat);
        }
        // Another interface may have its name now.
        let before = self.method.take();
        if let Ok(name) = driver.name(&self.name)
            && STACKED.contains(&name.as_str())
        {
            if !std::mem::replace(&mut self.stacked, true) {
                tracing::warn!(
                    interface = self.name,
                    "linkbeat_interfaces: {} is a {name} interface and has no link of its own, it is not polled; name its parent",
                    self.name
                );
            }
            return None;
        }
        self.stacked = false;
        let others = METHODS.into_iter().filter(|method| Some(*method) != self.configured);
        for method in self.configured.into_iter().chain(others) {
            match driver.beat(&self.name, method) {
                Ok(beat) => {
                    if before != Some(method) {
                        tracing::info!(
                            interface = self.name,
                            "link of {} is polled by {method:?}",
                            self.name
                        );
                    }
                    self.method = Some(method);
                    return Some(beat);
                }
                Err(Errno::ENODEV | Errno::ENXIO) => return None,
                Err(errno) => tracing::debug!(interface = self.name, ?method, %errno, "link beat"),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Answers by method; what is not there is refused.
    #[derive(Default)]
    struct Fake {
        beats: RefCell<HashMap<&'static str, nix::Result<bool>>>,
        driver: RefCell<&'static str>,
    }

    impl Fake {
        fn of(beats: &[(&'static str, nix::Result<bool>)]) -> Self {
            Fake { beats: RefCell::new(beats.iter().copied().collect()), driver: RefCell::new("e1000e") }
        }
    }

    fn word(method: LinkbeatMethod) -> &'static str {
        match method {
            LinkbeatMethod::Mii => "MII",
            LinkbeatMethod::Ethtool => "ETHTOOL",
            LinkbeatMethod::Ioctl => "IOCTL",
        }
    }

    impl Driver for Fake {
        fn beat(&self, _: &str, method: LinkbeatMethod) -> nix::Result<bool> {
            self.beats.borrow().get(word(method)).copied().unwrap_or(Err(Errno::EOPNOTSUPP))
        }

        fn name(&self, _: &str) -> nix::Result<String> {
            Ok((*self.driver.borrow()).to_owned())
        }
    }

    fn polled(method: Option<LinkbeatMethod>) -> Polled {
        Polled::new(LinkbeatInterface { interface: "eth0".into(), method })
    }

    #[test]
    fn the_first_way_that_works() {
        use LinkbeatMethod::{Ethtool, Ioctl, Mii};
        let all = [("MII", Ok(true)), ("ETHTOOL", Ok(false)), ("IOCTL", Ok(true))];
        for (name, configured, driver, method, beat) in [
            ("all work", None, Fake::of(&all), Some(Mii), Some(true)),
            ("no MII", None, Fake::of(&all[1..]), Some(Ethtool), Some(false)),
            ("flags alone", None, Fake::of(&all[2..]), Some(Ioctl), Some(true)),
            ("as configured", Some(Ethtool), Fake::of(&all), Some(Ethtool), Some(false)),
            ("configured and not there", Some(Ethtool), Fake::of(&[all[0], all[2]]), Some(Mii), Some(true)),
            ("configured last of all", Some(Ioctl), Fake::of(&all), Some(Ioctl), Some(true)),
            ("no interface", None, Fake::of(&[("MII", Err(Errno::ENODEV)), all[1]]), None, None),
            ("nothing works", None, Fake::of(&[]), None, None),
        ] {
            let mut one = polled(configured);
            assert_eq!(one.look(&driver), beat.map(Some), "{name}");
            assert_eq!(one.method, method, "{name}");
            assert_eq!(one.look(&driver), None, "{name}: nothing new");
        }
    }

    #[test]
    fn an_interface_over_its_life() {
        let driver = Fake::of(&[("MII", Ok(true))]);
        let mut one = polled(None);
        let set = |beat| driver.beats.borrow_mut().insert("MII", beat);
        assert_eq!(one.look(&driver), Some(Some(true)));
        set(Ok(false));
        assert_eq!(one.look(&driver), Some(Some(false)));
        set(Err(Errno::ENODEV));
        assert_eq!(one.look(&driver), Some(None), "gone");
        // Another one of its name, without MII.
        set(Err(Errno::EOPNOTSUPP));
        driver.beats.borrow_mut().insert("ETHTOOL", Ok(true));
        assert_eq!(one.look(&driver), Some(Some(true)));
        assert_eq!(one.method, Some(LinkbeatMethod::Ethtool));
    }

    #[test]
    fn virtual_mac_interfaces_are_not_polled() {
        let driver = Fake::of(&[("MII", Ok(false))]);
        driver.driver.replace("macvlan");
        let mut one = polled(None);
        assert_eq!(one.look(&driver), None);
        assert!(one.stacked);
        driver.driver.replace("e1000e");
        assert_eq!(one.look(&driver), Some(Some(false)), "another interface of the name");
    }

    /// A dead link and one that lives, of real interfaces.
    #[test]
    fn real_interfaces() {
        let name = "linkbeat::tests::real_interfaces";
        let ns = match lbd_integration::netns::Netns::new("beat") {
            Ok(ns) => ns,
            Err(error) => return lbd_integration::skip::report(name, &format!("{error:#}")),
        };
        ns.ip("link add v0 type veth peer name v1\nlink set v0 up").expect("a veth");
        let beats = |interface: &str, method| {
            ns.run(|| {
                let socket = sys::LinkSocket::open().expect("socket");
                (socket.beat(interface, method), socket.name(interface))
            })
        };
        let get = |interface: &str, method| beats(interface, method).expect("a namespace");
        use LinkbeatMethod::{Ethtool, Ioctl, Mii};
        for up in [false, true] {
            if up {
                ns.ip("link set v1 up").expect("up");
            }
            assert_eq!(get("v0", Ethtool), (Ok(up), Ok("veth".into())), "peer up: {up}");
            assert_eq!(get("v0", Ioctl).0, Ok(up), "peer up: {up}");
            assert_eq!(get("v0", Mii).0, Err(Errno::EOPNOTSUPP));
        }
        for method in METHODS {
            assert_eq!(get("none0", method).0, Err(Errno::ENODEV), "{method:?}");
        }
        assert_eq!(get("a-name-that-is-too-long", Ioctl).0, Err(Errno::ENODEV));
        ns.ip("link add m0 link v0 type macvlan").expect("a macvlan");
        assert_eq!(get("m0", Ethtool).1, Ok("macvlan".into()));
    }
}
