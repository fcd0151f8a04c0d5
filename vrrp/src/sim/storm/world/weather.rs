//! What happens to nodes and links: starts and stops, pauses, partitions, clock steps, and the calm at the end.

use super::*;

impl World<'_> {
    pub(super) fn happen(&mut self, weather: &Weather) -> Result<(), Violation> {
        self.say(|| format!("{weather:?}"));
        self.changed = true;
        match *weather {
            Weather::Start(node) if !self.hosts[node].alive => self.begin(node, false)?,
            Weather::Kill(node) => self.hosts[node].alive = false,
            Weather::Upgrade(node) if self.hosts[node].runs() => {
                let all_masters =
                    self.hosts[node].engine.routers().iter().all(|one| one.state() == State::Master);
                self.begin(node, all_masters)?;
            }
            Weather::Pause(node, time) if self.hosts[node].runs() => {
                self.hosts[node].paused_until = Some(self.now + time);
            }
            Weather::Side(node, side) => {
                if self.hosts[node].side != side {
                    self.hosts[node].side = side;
                    self.segments.forget(node);
                }
            }
            Weather::Lose(node, percent) => self.hosts[node].loss = percent,
            Weather::Duplicate(percent) => self.duplicates = percent,
            Weather::Clock(node, ms) => self.set_clock(node, ms),
            Weather::Link(node, segment, up) => {
                if self.hosts[node].up[segment] != up {
                    self.segments.forget(node);
                }
                self.hosts[node].up[segment] = up;
                self.tell_process(node, weather)?;
            }
            Weather::Track(node, good) => {
                self.hosts[node].good = good;
                self.tell_process(node, weather)?;
            }
            Weather::Stop(node) | Weather::TakeAddress(node, _) | Weather::Reload(node) => {
                self.tell_process(node, weather)?;
            }
            Weather::Start(_) | Weather::Upgrade(_) | Weather::Pause(..) => {}
        }
        Ok(())
    }

    /// What only a running process notices.
    fn tell_process(&mut self, node: usize, weather: &Weather) -> Result<(), Violation> {
        let host = &mut self.hosts[node];
        if !host.alive {
            return Ok(());
        }
        if host.paused_until.is_some() {
            host.waiting.push(weather.clone());
            return Ok(());
        }
        match *weather {
            Weather::Link(_, segment, _) => {
                let interface = self.interface(node, segment);
                self.feed(node, Event::Interface(interface))
            }
            Weather::Track(..) => {
                let good = host.good;
                self.feed(node, Event::Tracker(script(), good.into()))
            }
            Weather::Stop(_) => {
                self.feed(node, Event::Stop)?;
                let host = &mut self.hosts[node];
                host.alive = false;
                host.ledger.ended(&host.engine)
            }
            Weather::TakeAddress(_, segment) => {
                let router = host.engine.routers()[segment].id();
                self.feed(node, Event::AddressLost { router, what: "an address".into() })
            }
            Weather::Reload(_) => {
                let setup = self.plan.setups[node].clone();
                self.feed(node, Event::Reload(setup))
            }
            _ => Ok(()),
        }
    }

    /// A new process; `resume`: it goes on with what an earlier one held.
    pub(super) fn begin(&mut self, node: usize, resume: bool) -> Result<(), Violation> {
        let now = self.now;
        self.segments.forget(node);
        let setup = self.plan.setups[node].clone();
        let (held_until, resumes) = (now + setup.startup_delay, resume);
        let host = &mut self.hosts[node];
        host.engine = Engine::new(setup);
        host.ledger = host.ledger.restarted();
        host.alive = true;
        host.paused_until = None;
        host.buffer.clear();
        host.waiting.clear();
        host.held_until = [if resumes { now } else { held_until }; MOST_SEGMENTS];
        host.released_at = [None; MOST_SEGMENTS];
        host.heard = [None; MOST_SEGMENTS];
        if self.plan.hmac {
            host.deaf_until = host.deaf_until.max(now + CLOCK_SETTLES);
        }
        let ids = host.engine.routers().iter().map(|router| router.id());
        let resume: Vec<RouterId> = if resume { ids.collect() } else { vec![] };
        for segment in 0..self.plan.segments {
            self.hosts[node].longest[segment] = self.plan.config(node, segment).advert_interval;
        }
        let ms = self.hosts[node].clock;
        self.set_clock(node, ms);
        for segment in 0..self.plan.segments {
            let interface = self.interface(node, segment);
            self.feed(node, Event::Interface(interface))?;
        }
        let good = self.hosts[node].good;
        // The first result comes before or after the start.
        let early = self.random.bool();
        if early {
            self.feed(node, Event::Tracker(script(), good.into()))?;
        }
        self.feed(node, Event::Begin { resume })?;
        if resumes {
            // Those that cannot go on as masters start as others do.
            let Host { held_until: held, ledger, .. } = &mut self.hosts[node];
            for (held, state) in held.iter_mut().zip(ledger.state) {
                *held = if state == State::Master { now } else { held_until };
            }
        }
        if !early {
            self.feed(node, Event::Tracker(script(), good.into()))?;
        }
        Ok(())
    }

    fn interface(&self, node: usize, segment: usize) -> Interface {
        let number = u8::try_from(node + 1).expect("few nodes");
        Interface { up: self.hosts[node].up[segment], ..nic(index_of(segment).get(), number) }
    }

    fn set_clock(&mut self, node: usize, ms: i64) {
        let (now, since) = (self.now, self.now - self.start);
        let host = &mut self.hosts[node];
        if host.clock.abs() >= HARMLESS_CLOCK || ms.abs() >= HARMLESS_CLOCK {
            self.segments.forget(node);
            let far = Duration::from_secs(86_400);
            host.deaf_until = now + if ms.abs() >= HARMLESS_CLOCK { far } else { CLOCK_SETTLES };
        }
        host.clock = ms;
        let shift = Duration::from_millis(ms.unsigned_abs());
        let unix = if ms < 0 { UNIX + since - shift } else { UNIX + since + shift };
        host.engine.set_clock(now, unix);
    }

    /// Everything is healed, so that the election can end.
    pub(super) fn calm(&mut self) -> Result<(), Violation> {
        self.say(|| "everything is healed".into());
        self.next_weather = self.plan.weather.len();
        self.duplicates = 0;
        for node in 0..self.hosts.len() {
            self.hosts[node].loss = 0;
            self.happen(&Weather::Side(node, [0; MOST_SEGMENTS]))?;
            if self.hosts[node].paused_until.is_some() && self.hosts[node].alive {
                self.go_on(node)?;
            }
            self.happen(&Weather::Clock(node, 0))?;
            for segment in 0..self.plan.segments {
                self.happen(&Weather::Link(node, segment, true))?;
            }
            self.happen(&Weather::Track(node, true))?;
            self.happen(&Weather::Start(node))?;
        }
        self.changed = false;
        self.look();
        Ok(())
    }
}
