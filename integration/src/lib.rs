//! Test bed of lbd: network namespaces with real traffic, a kernel that has IPVS, daemons that are started, killed and watched.
//!
//! Here: everything that drives **built binaries** from outside. Not here: tests of a room's own logic (they live in that room).
//!
//! A *scenario* ([`scenarios::ALL`]) is a function that builds a lab, runs daemons in it and says what it saw. It runs in a
//! process of its own, on the host's kernel or inside user-mode-linux ([`kernel::Kernel::pick`]), started by a test of
//! `tests/` or by hand:
//!
//! ```text
//! cargo run -p lbd-integration --bin bed -- list              names, and what each needs
//! cargo run -p lbd-integration --bin bed -- run dr            one scenario, on whichever kernel can run it
//! cargo run -p lbd-integration --bin bed -- run dr --daemon keepalived    the same with Debian's keepalived
//! cargo run -p lbd-integration --bin bed -- run dr --kernel uml           in user-mode-linux whatever the host has
//! cargo test -p lbd-integration --test e2e ipvs::dr            as a test
//! ```
//!
//! `LBD_BED_LBD` and `LBD_BED_LBCTL` name binaries that were built already; without them the bed builds the workspace's.
//!
//! Real servers are threads of the scenario's process whose sockets are in a host's namespace ([`servers`]): of every protocol
//! that is checked, and told to work, to fail or to misbehave while they run.
//!
//! Environment: `LBD_UML` and `LBD_UML_MODULES` (where user-mode-linux is), `LBD_SKIP_LOG` (a file to which skips are
//! appended), `LBD_BED_DAEMON` (`lbd` or `keepalived`). The full output of each run is in `target/bed/NAME.log`.

pub mod adverts;
pub mod bench;
pub mod build;
pub mod cell;
pub mod checks;
pub mod client;
pub mod decode;
pub mod demo;
pub mod differential;
pub mod director;
pub mod fakeipvs;
pub mod fifo;
pub mod figures;
pub mod forge;
pub mod ipvsadm;
pub mod kernel;
pub mod large;
pub mod netns;
pub mod packages;
pub mod process;
pub mod run;
pub mod scenarios;
pub mod seeds;
pub mod servers;
pub mod shape;
pub mod skip;
pub mod sockets;
pub mod table;
pub mod tap;
pub mod topology;
pub mod tshark;
pub mod uml;
pub mod vip;
pub mod vrrp;
pub mod wait;
pub mod xstate;
