//! Every end-to-end test, in one program: a second test runs while one waits, and one program is linked.

mod bed;
mod checks;
mod conf_d;
mod container;
mod differential;
mod directors;
mod examples;
mod faults;
mod floods;
mod interop;
mod ipvs;
mod life;
mod seeds;
mod servers;
mod steer;
mod table;
mod vrrp;
