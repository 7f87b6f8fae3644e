//! Who is connected from where, and what they use together.
//!
//! An address of IPv6 counts with its network of 64 bits: that is the least that a site has. An address is remembered
//! while somebody is connected from it, and as long as what it has used is not paid for. The table looks for entries
//! to forget whenever it has doubled, so that a sweep costs each arrival little; when that is not enough it
//! forgets all that nobody is connected from.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use quelea_session::Time;

use super::Meter;
use crate::config::Rates;

/// The addresses that clients connect from.
pub(crate) struct Addresses {
    table: Mutex<Table>,
}

struct Table {
    known: HashMap<Ipv6Addr, Arc<Address>, FixedState>,
    /// How many there must be for a sweep to be worth it.
    sweep_at: usize,
}

/// One address.
#[derive(Debug, Default)]
pub(crate) struct Address {
    connections: AtomicU32,
    connects: Meter,
    pub(super) messages: Meter,
    pub(super) bytes: Meter,
}

/// A connection's place among those of its address, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct AddressPlace(Arc<Address>);

/// An address has as many connections as it may, or makes them too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Addresses {
    pub(crate) fn new(seed: u64) -> Self {
        let known = HashMap::with_hasher(FixedState::with_seed(seed));
        Self { table: Mutex::new(Table { known, sweep_at: SWEEP_MIN }) }
    }

    /// Lets one more connection in from `ip`; without a place if nothing is asked of addresses.
    ///
    /// # Errors
    ///
    /// [`TooMany`].
    pub(crate) fn enter(
        &self,
        ip: Option<IpAddr>,
        now: Time,
        rates: &Rates,
    ) -> Result<Option<AddressPlace>, TooMany> {
        let Some(ip) = ip.filter(|_| rates.counts_addresses()) else { return Ok(None) };
        let address = self.find(network_of(ip), now);
        let count = address.connections.fetch_add(1, Ordering::Relaxed);
        let place = AddressPlace(address);
        if rates.address_connections_max.is_some_and(|max| count >= max) {
            return Err(TooMany);
        }
        if let Some(per_sec) = rates.address_connects_per_sec {
            if place.0.connects.wait_millis(now) > 0 {
                return Err(TooMany);
            }
            place.0.connects.charge(now, 1, per_sec);
        }
        Ok(Some(place))
    }

    fn find(&self, ip: Ipv6Addr, now: Time) -> Arc<Address> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.known.len() >= table.sweep_at {
            table.sweep(now);
        }
        Arc::clone(table.known.entry(ip).or_default())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.table.lock().unwrap().known.len()
    }
}

impl Table {
    fn sweep(&mut self, now: Time) {
        self.known.retain(|_, address| address.is_in_use() || !address.is_idle(now));
        if self.known.len() >= UNUSED_MAX {
            self.known.retain(|_, address| address.is_in_use());
        }
        self.known.shrink_to(SWEEP_MIN);
        self.sweep_at = (2 * self.known.len()).max(SWEEP_MIN);
    }
}

impl Address {
    fn is_in_use(&self) -> bool {
        self.connections.load(Ordering::Relaxed) > 0
    }

    fn is_idle(&self, now: Time) -> bool {
        [&self.connects, &self.messages, &self.bytes].iter().all(|meter| meter.is_idle(now))
    }
}

impl AddressPlace {
    pub(super) fn address(&self) -> &Address {
        &self.0
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns what stands for `ip`.
pub(super) fn network_of(ip: IpAddr) -> Ipv6Addr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)),
    }
}

/// So many addresses are kept without looking which can be forgotten.
const SWEEP_MIN: usize = 1_024;

/// Beyond so many, those that nobody is connected from are forgotten though they are not idle.
const UNUSED_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_an_address_are_counted() {
        let addresses = Addresses::new(1);
        let rates = Rates { address_connections_max: Some(2), ..Rates::default() };
        let enter = |ip: &str| addresses.enter(ip.parse().ok(), NOW, &rates);
        let first = enter("192.0.2.1").unwrap();
        let _second = enter("::ffff:192.0.2.1").unwrap().unwrap();
        assert_eq!(enter("192.0.2.1").unwrap_err(), TooMany);
        drop(first);
        let _third = enter("192.0.2.1").unwrap().unwrap();
        let _other = enter("192.0.2.2").unwrap().unwrap();
        let _site = [enter("2001:db8::1").unwrap(), enter("2001:db8::ffff:0:0:2").unwrap()];
        assert_eq!(enter("2001:db8::3").unwrap_err(), TooMany);
        enter("2001:db8:0:1::1").unwrap().unwrap();
    }

    #[test]
    fn an_address_that_connects_too_fast_is_refused_for_a_while() {
        let addresses = Addresses::new(1);
        let rates = Rates { address_connects_per_sec: Some(5), ..Rates::default() };
        let enter = |now| addresses.enter("192.0.2.1".parse().ok(), now, &rates).is_ok();
        assert_eq!((0..20).filter(|_| enter(NOW)).count(), 5);
        assert!(enter(NOW.plus_millis(200)));
        assert!(!enter(NOW.plus_millis(200)));
        assert_eq!((0..20).filter(|_| enter(NOW.plus_millis(60_000))).count(), 5);
    }

    #[test]
    fn what_is_not_asked_for_is_not_kept() {
        let addresses = Addresses::new(1);
        assert!(
            addresses.enter("192.0.2.1".parse().ok(), NOW, &Rates::default()).unwrap().is_none()
        );
        assert_eq!(addresses.len(), 0);
    }

    /// Addresses that come and go leave few behind, and one that stays is not forgotten.
    #[test]
    fn the_table_is_bounded() {
        let addresses = Addresses::new(1);
        let rates = Rates {
            address_connections_max: Some(1),
            address_connects_per_sec: Some(1),
            ..Rates::default()
        };
        let stays = addresses.enter("192.0.2.1".parse().ok(), NOW, &rates).unwrap();
        let mut most = 0;
        for number in 0..300_000_u32 {
            let ip = IpAddr::V4((0x0A00_0000 + number).into());
            // All at once: none of them is idle.
            drop(addresses.enter(Some(ip), NOW, &rates).unwrap());
            if number % 1_000 == 0 {
                most = most.max(addresses.len());
            }
        }
        assert!(most <= 2 * UNUSED_MAX, "{most} addresses were kept");
        assert!(addresses.enter("192.0.2.1".parse().ok(), NOW, &rates).is_err());
        drop(stays);
    }

    const NOW: Time = Time::from_millis(1_000_000);
}
